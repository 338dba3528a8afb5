package main

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageConfig is the configuration in the image.
//
//go:embed config.yml
var imageConfig []byte

// imageTree returns the files of the image: one program, which does what its
// name says, and what a program needs of a system. There is no shell.
//
// registry:2 has its configuration in /etc/docker/registry and registry:3 in
// /etc/distribution. Here they are one folder with two names, so that whatever
// is mounted at either of them, file or folder, is what the server reads.
func imageTree(program, licenses []byte, date time.Time) []entry {
	t := tree{date: date}
	t.dirs("bin", "etc", "etc/docker", "etc/docker/registry", "etc/ssl", "etc/ssl/certs",
		"usr", "usr/bin", "usr/share", "usr/share/doc", "usr/share/doc/berth", "var", "var/lib", "var/lib/registry")
	t.dir("tmp", 0o1777)
	t.file("bin/berth", 0o755, program)
	t.link("bin/registry", "berth")
	t.link("usr/bin/htpasswd", "../../bin/berth")
	t.link("entrypoint.sh", "bin/berth")
	t.file("etc/docker/registry/config.yml", 0o644, imageConfig)
	t.link("etc/distribution", "docker/registry")
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, roots())
	t.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	t.file("etc/group", 0o644, []byte("root:x:0:\nnobody:x:65534:\n"))
	t.file("usr/share/doc/berth/THIRD-PARTY-LICENSES", 0o644, licenses)
	slices.SortFunc(t.entries, func(a, b entry) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return t.entries
}

// roots returns the certificate authorities that Mozilla trusts without
// conditions, as Go's maintainers publish them: a file cannot say the conditions.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // to memory: no error
		}
	}
	return b.Bytes()
}

// An entry is one file, folder or link of the image.
type entry struct {
	tar.Header
	data []byte
}

// A tree is the list of entries in the making. All belong to root.
type tree struct {
	date    time.Time
	entries []entry
}

func (t *tree) add(h tar.Header, data []byte) {
	h.ModTime, h.Format, h.Size = t.date, tar.FormatUSTAR, int64(len(data))
	t.entries = append(t.entries, entry{h, data})
}

func (t *tree) dirs(names ...string) {
	for _, name := range names {
		t.dir(name, 0o755)
	}
}

func (t *tree) dir(name string, mode int64) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (t *tree) file(name string, mode int64, data []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, data)
}

func (t *tree) link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// writeTar writes the entries as a layer.
func writeTar(w io.Writer, entries []entry) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		if err := archive.WriteHeader(&e.Header); err != nil {
			return err
		}
		if _, err := archive.Write(e.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// writeFolder writes the entries into a folder that does not exist yet. Names are
// as the program made them up.
func writeFolder(dir string, entries []entry) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("the folder for the files: %w", err)
	}
	for _, e := range entries {
		if err := e.writeIn(dir); err != nil {
			return err
		}
	}
	return nil
}

func (e entry) writeIn(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(e.Name))
	mode := e.FileInfo().Mode()
	switch e.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(e.Linkname, path)
	case tar.TypeDir:
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(path, e.data, 0o644); err != nil {
			return err
		}
	}
	// Not at creation, when the umask would have a say.
	return os.Chmod(path, mode.Perm()|mode&os.ModeSticky)
}
