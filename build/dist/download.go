package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A member is one file of a download.
type member struct {
	name string
	mode int64
	data []byte
}

// download writes the archive for p, whose files are in one folder of its name,
// and returns the archive's name.
func (s settings) download(p platform, program, licenses []byte) (string, error) {
	folder := programName + "-" + p.suffix()
	members := []member{
		{p.executable(), 0o755, program},
		{"THIRD-PARTY-LICENSES", 0o644, licenses},
	}
	for _, name := range []string{"LICENSE", "README.md", "README.zh.md"} {
		data, err := os.ReadFile(filepath.Join(s.root, name))
		if err != nil {
			return "", err
		}
		members = append(members, member{name, 0o644, data})
	}
	name, write := folder+".tar.gz", writeTarball
	if p.os == "windows" {
		name, write = folder+".zip", writeZip
	}
	return name, writeFile(filepath.Join(s.out, name), func(w io.Writer) error { return write(w, folder, members, s.date) })
}

// writeTarball writes a .tar.gz.
func writeTarball(w io.Writer, folder string, members []member, date time.Time) error {
	z := gzip.NewWriter(w)
	archive := tar.NewWriter(z)
	for _, m := range members {
		h := &tar.Header{Name: folder + "/" + m.name, Mode: m.mode, Size: int64(len(m.data)), ModTime: date, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(m.data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return z.Close()
}

// writeZip writes a .zip, whose dates are at least of 1980.
func writeZip(w io.Writer, folder string, members []member, date time.Time) error {
	archive := zip.NewWriter(w)
	for _, m := range members {
		h := &zip.FileHeader{Name: folder + "/" + m.name, Method: zip.Deflate, Modified: date}
		h.SetMode(os.FileMode(m.mode))
		f, err := archive.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(m.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// writeSums writes SHA256SUMS in the form that `sha256sum -c` reads.
func writeSums(dir string, names []string) error {
	slices.Sort(names)
	return writeFile(filepath.Join(dir, "SHA256SUMS"), func(w io.Writer) error {
		for _, name := range names {
			sum, err := sumOf(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%x  %s\n", sum, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
