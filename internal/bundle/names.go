package bundle

import (
	"strings"

	"berth/internal/oci"
)

// A Name is what a bundle calls an image: a repository, a tag, or both. What it
// doesn't say is zero.
type Name struct {
	Repo oci.Repo
	Tag  oci.Tag
}

// String writes what there is of a name, as docker does.
func (n Name) String() string {
	switch {
	case n.Repo.IsZero():
		return n.Tag.String()
	case n.Tag.IsZero():
		return n.Repo.String()
	}
	return n.Repo.String() + ":" + n.Tag.String()
}

// ParseName reads the name of an image as docker writes it: app, app:1,
// docker.io/library/app:1, reg.example.com:5000/team/app:1@sha256:…. Its host is
// dropped: the image goes to another one. docker.io/library/app is what people
// know as app.
func ParseName(s string) (Name, error) {
	s, _, _ = strings.Cut(s, "@")
	path, tag := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		path, tag = s[:i], s[i+1:]
	}
	host, rest, ok := strings.Cut(path, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		path = rest
		if host == "docker.io" || host == "index.docker.io" {
			path = strings.TrimPrefix(path, "library/")
		}
	}
	var n Name
	var err error
	if n.Repo, err = oci.ParseRepo(path); err != nil {
		return Name{}, err
	}
	if tag != "" {
		if n.Tag, err = oci.ParseTag(tag); err != nil {
			return Name{}, err
		}
	}
	return n, nil
}

// addName notes a name of an image, or that it is none.
func (i *Image) addName(s string) {
	n, err := ParseName(s)
	if err != nil {
		i.Odd = append(i.Odd, s)
		return
	}
	i.Names = append(i.Names, n)
}

// addRef notes what a layout calls an image: by the layout's rules any text,
// which is a tag with most programs and a whole name with some.
func (i *Image) addRef(s string) {
	if strings.ContainsAny(s, "/:@") {
		i.addName(s)
		return
	}
	tag, err := oci.ParseTag(s)
	if err != nil {
		i.Odd = append(i.Odd, s)
		return
	}
	i.Names = append(i.Names, Name{Tag: tag})
}
