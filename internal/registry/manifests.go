package registry

import (
	"fmt"
	"regexp"
	"slices"

	"berth/internal/oci"
)

// Manifests says what manifests must be like, besides being well-formed. The
// zero Manifests accepts all.
type Manifests struct {
	// RefuseURLs refuses manifests whose parts name URLs. AllowURLs, if there are
	// any, must match each URL; DenyURLs must not.
	RefuseURLs          bool
	AllowURLs, DenyURLs []*regexp.Regexp

	// Platforms lists those, as os/architecture, whose manifests an index must
	// find in its repository. AllPlatforms among them stands for every child.
	Platforms []string
}

// AllPlatforms as a platform stands for every child of an index.
const AllPlatforms = "all"

// check refuses a manifest that names URLs that it must not.
func (m Manifests) check(manifest oci.Manifest) error {
	if !m.RefuseURLs && len(m.AllowURLs) == 0 && len(m.DenyURLs) == 0 {
		return nil
	}
	for _, parts := range [][]oci.Descriptor{manifest.Blobs, manifest.Children} {
		for _, d := range parts {
			for _, u := range d.URLs {
				if err := m.checkURL(u, d.Digest); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (m Manifests) checkURL(u string, d oci.Digest) error {
	matches := func(list []*regexp.Regexp) bool {
		return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(u) })
	}
	switch {
	case m.RefuseURLs:
		return &oci.Error{Code: oci.ManifestInvalid, Message: fmt.Sprintf(
			"%s is to be had from a URL, which this registry does not accept: push the content itself, or ask its operator about manifests.urls", d)}
	case len(m.AllowURLs) > 0 && !matches(m.AllowURLs), matches(m.DenyURLs):
		return &oci.Error{Code: oci.ManifestInvalid, Message: fmt.Sprintf(
			"%s is to be had from a URL that this registry does not accept: push the content itself, or ask its operator about manifests.urls", d),
			Detail: map[string]string{"url": u}}
	}
	return nil
}

// required returns the children of an index that the repository must have.
func (m Manifests) required(manifest oci.Manifest) []oci.Digest {
	if len(m.Platforms) == 0 {
		return nil
	}
	var list []oci.Digest
	all := slices.Contains(m.Platforms, AllPlatforms)
	for _, d := range manifest.Children {
		if all || d.Platform != "" && slices.Contains(m.Platforms, d.Platform) {
			list = append(list, d.Digest)
		}
	}
	return list
}
