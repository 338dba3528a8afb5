package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testDate() time.Time { return time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC) }

// sourceRoot is a folder that holds what a download takes from the sources.
func sourceRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"LICENSE", "README.md", "README.zh.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPlatforms holds that Go knows the six platforms, and that a release is for
// those that people have.
func TestPlatforms(t *testing.T) {
	out, err := exec.Command("go", "tool", "dist", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(out))
	suffixes := make(map[string]bool)
	for _, p := range allPlatforms() {
		if !slices.Contains(known, p.os+"/"+p.arch) {
			t.Errorf("Go does not know %s", p)
		}
		suffixes[p.suffix()] = true
	}
	if len(suffixes) != 6 {
		t.Errorf("%d platforms with names of their own, want 6: %v", len(suffixes), suffixes)
	}
	if some, err := parsePlatforms("linux/arm/v7,windows/amd64"); err != nil || len(some) != 2 || some[0].environ()[3] != "GOARM=7" {
		t.Errorf("got %v, %v", some, err)
	}
	if _, err := parsePlatforms("linux/mips"); err == nil {
		t.Error("a platform that isn't one was taken")
	}
}

// TestDownloads reads the archives back.
func TestDownloads(t *testing.T) {
	tests := []struct {
		platform platform
		name     string
		program  string
		read     func(*testing.T, string) map[string]member
	}{
		{platform{os: "linux", arch: "arm", variant: "v7"}, "berth-linux-armv7.tar.gz", "berth-linux-armv7/berth", readTarball},
		{platform{os: "windows", arch: "amd64"}, "berth-windows-amd64.zip", "berth-windows-amd64/berth.exe", readZip},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := settings{root: sourceRoot(t), out: t.TempDir(), date: testDate()}
			name, err := s.download(tt.platform, []byte("program"), []byte("licenses"))
			if err != nil || name != tt.name {
				t.Fatalf("got %s, %v", name, err)
			}
			got := tt.read(t, filepath.Join(s.out, name))
			folder := path.Dir(tt.program)
			want := map[string]member{
				tt.program:                       {mode: 0o755, data: []byte("program")},
				folder + "/THIRD-PARTY-LICENSES": {mode: 0o644, data: []byte("licenses")},
				folder + "/LICENSE":              {mode: 0o644, data: []byte("the LICENSE")},
				folder + "/README.md":            {mode: 0o644, data: []byte("the README.md")},
				folder + "/README.zh.md":         {mode: 0o644, data: []byte("the README.zh.md")},
			}
			if len(got) != len(want) {
				t.Errorf("got %d files, want %d", len(got), len(want))
			}
			for name, w := range want {
				if g := got[name]; g.mode != w.mode || !bytes.Equal(g.data, w.data) {
					t.Errorf("%s: got %o %q, want %o %q", name, g.mode, g.data, w.mode, w.data)
				}
			}
		})
	}
}

func readTarball(t *testing.T, name string) map[string]member {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	members := make(map[string]member)
	for _, e := range readTar(t, z) {
		if !e.ModTime.Equal(testDate()) || e.Uid != 0 || e.Gid != 0 {
			t.Errorf("%s is of %v and belongs to %d:%d", e.Name, e.ModTime, e.Uid, e.Gid)
		}
		members[e.Name] = member{mode: e.Mode, data: e.data}
	}
	return members
}

func readTar(t *testing.T, r io.Reader) []entry {
	t.Helper()
	var entries []entry
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{*h, data})
	}
}

func readZip(t *testing.T, name string) map[string]member {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	members := make(map[string]member)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		members[f.Name] = member{mode: int64(f.Mode().Perm()), data: data}
	}
	return members
}

// TestImageTree holds what the image promises about its files.
func TestImageTree(t *testing.T) {
	entries := imageTree([]byte("program"), []byte("licenses"), testDate())
	byName := make(map[string]entry)
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name, "/")
		if up := path.Dir(name); up != "." && byName[up].Typeflag != tar.TypeDir {
			t.Errorf("%s comes before its folder", e.Name)
		}
		if e.Uid != 0 || e.Gid != 0 || !e.ModTime.Equal(testDate()) {
			t.Errorf("%s belongs to %d:%d and is of %v", e.Name, e.Uid, e.Gid, e.ModTime)
		}
		byName[name] = e
	}
	for _, name := range []string{"entrypoint.sh", "bin/registry", "bin/berth", "usr/bin/htpasswd"} {
		if got := resolve(byName, name); string(got.data) != "program" || got.Mode != 0o755 {
			t.Errorf("/%s is not the program", name)
		}
	}
	for _, name := range []string{"etc/docker/registry/config.yml", "etc/distribution/config.yml"} {
		if got := resolve(byName, name); !bytes.Equal(got.data, imageConfig) {
			t.Errorf("/%s is not the configuration", name)
		}
	}
	pool := x509.NewCertPool()
	pem := resolve(byName, "etc/ssl/certs/ca-certificates.crt").data
	if n := bytes.Count(pem, []byte("BEGIN CERTIFICATE")); !pool.AppendCertsFromPEM(pem) || n < 50 {
		t.Errorf("%d certificate authorities", n)
	}
}

// resolve follows the links of a tree to a file.
func resolve(tree map[string]entry, name string) entry {
	parts := strings.Split(name, "/")
	for i := range parts {
		at := path.Join(parts[:i+1]...)
		if e := tree[at]; e.Typeflag == tar.TypeSymlink {
			rest := path.Join(parts[i+1:]...)
			return resolve(tree, path.Join(path.Dir(at), e.Linkname, rest))
		}
	}
	return tree[name]
}

// TestFolderIsTree holds that the two ways in which the files of the image are
// written give the same.
func TestFolderIsTree(t *testing.T) {
	entries := imageTree([]byte("program"), []byte("licenses"), testDate())
	dir := filepath.Join(t.TempDir(), "tree")
	if err := writeFolder(dir, entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if e.Typeflag == tar.TypeSymlink {
			if target, err := os.Readlink(path); target != e.Linkname {
				t.Errorf("%s leads to %s, want %s (%v)", e.Name, target, e.Linkname, err)
			}
			continue
		}
		if info.Mode() != e.FileInfo().Mode() {
			t.Errorf("%s has mode %v, want %v", e.Name, info.Mode(), e.FileInfo().Mode())
		}
		if e.Typeflag == tar.TypeReg {
			if data, err := os.ReadFile(path); !bytes.Equal(data, e.data) {
				t.Errorf("%s: other content (%v)", e.Name, err)
			}
		}
	}
	if err := writeFolder(dir, entries); err == nil {
		t.Error("a folder that exists was taken")
	}
}

// TestImageArchives reads the archives of images back: every descriptor leads to
// a blob of its size, by both of the ways in.
func TestImageArchives(t *testing.T) {
	var images []image
	for _, p := range allPlatforms()[:3] {
		img, err := makeImage(p, "1.2.3", testDate(), imageTree([]byte("program for "+p.String()), nil, testDate()))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
	}
	var one, all bytes.Buffer
	if err := writeImage(&one, testDate(), images[2]); err != nil {
		t.Fatal(err)
	}
	if err := writeIndex(&all, testDate(), images); err != nil {
		t.Fatal(err)
	}
	files := contents(t, &one)
	if got := platformsOf(t, files); !slices.Equal(got, []string{"linux/arm/v7"}) {
		t.Errorf("the image is for %v", got)
	}
	var saved []struct {
		Config           string
		RepoTags, Layers []string
	}
	decode(t, files, "manifest.json", &saved)
	if len(saved) != 1 || !slices.Equal(saved[0].RepoTags, []string{"berth:latest", "berth:1.2.3"}) || len(saved[0].Layers) != 1 ||
		files[saved[0].Config] == nil || files[saved[0].Layers[0]] == nil {
		t.Errorf("manifest.json is %+v", saved)
	}
	if got := platformsOf(t, contents(t, &all)); !slices.Equal(got, []string{"linux/amd64", "linux/arm64", "linux/arm/v7"}) {
		t.Errorf("the archive of all is for %v", got)
	}
}

func contents(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for _, e := range readTar(t, r) {
		files[e.Name] = e.data
	}
	return files
}

func decode(t *testing.T, files map[string][]byte, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(files[name], v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// platformsOf follows a layout from its index down to the files of its layers.
func platformsOf(t *testing.T, files map[string][]byte) []string {
	t.Helper()
	var list []string
	var follow func(string, descriptor)
	follow = func(name string, d descriptor) {
		if name != "index.json" && (int64(len(files[name])) != d.Size || image{blobs: map[string][]byte{}}.add("", files[name]).Digest != d.Digest) {
			t.Fatalf("%s is not what %+v says", name, d)
		}
		var doc struct {
			Manifests, Layers []descriptor
			Config            descriptor
		}
		decode(t, files, name, &doc)
		for _, m := range doc.Manifests {
			follow(blobPath(m), m)
		}
		if len(doc.Layers) == 0 {
			return
		}
		var config imageDocument
		decode(t, files, blobPath(doc.Config), &config)
		z, err := gzip.NewReader(bytes.NewReader(files[blobPath(doc.Layers[0])]))
		if err != nil {
			t.Fatal(err)
		}
		var plain bytes.Buffer
		if _, err := io.Copy(&plain, z); err != nil {
			t.Fatal(err)
		}
		if got := (image{blobs: map[string][]byte{}}).add("", plain.Bytes()).Digest; got != config.RootFS.DiffIDs[0] {
			t.Errorf("the layer has the digest %s, the config says %s", got, config.RootFS.DiffIDs[0])
		}
		p := platform{config.OS, config.Architecture, config.Variant}
		if d.Platform == nil || *d.Platform != (ociPlatform{p.arch, p.os, p.variant}) {
			t.Errorf("the descriptor is for %+v, the image for %s", d.Platform, p)
		}
		list = append(list, p.String())
	}
	follow("index.json", descriptor{})
	return list
}

func TestDate(t *testing.T) {
	tests := []struct {
		epoch string
		want  time.Time
		ok    bool
	}{
		{"1714979289", testDate(), true},
		{"", time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), true}, // the folder is no clone
		{"today", time.Time{}, false},
	}
	for _, tt := range tests {
		got, err := date(t.TempDir(), tt.epoch)
		if !got.Equal(tt.want) || (err == nil) != tt.ok {
			t.Errorf("%q: got %v, %v, want %v", tt.epoch, got, err, tt.want)
		}
	}
}

// TestProfile holds that the compiler can read the profile. No other test compiles
// by it: that takes minutes, and says nothing about the program.
func TestProfile(t *testing.T) {
	out, err := exec.Command("go", "tool", "preprofile", "-i", "../berth.pgo", "-o", filepath.Join(t.TempDir(), "profile")).CombinedOutput()
	if err != nil {
		t.Errorf("make profile: %v\n%s", err, out)
	}
}

// TestReproducible makes a release twice, from sources in two folders, and gets
// the same bytes; the sums are those of the files.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program; not with -short")
	}
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("needs sha256sum")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1714979289")
	pgo := "off" // it takes a minute, and changes nothing here
	if os.Getenv("BERTH_SOAK") != "" {
		pgo = "build/berth.pgo"
	}
	var sums [2][]byte
	for i := range sums {
		root, out := filepath.Join(t.TempDir(), "sources"), t.TempDir()
		copySources(t, root)
		if err := run([]string{"-root", root, "-out", out, "-version", "1.2.3", "-platforms", "linux/amd64", "-pgo", pgo}, t.Output()); err != nil {
			t.Fatal(err)
		}
		var err error
		if sums[i], err = os.ReadFile(filepath.Join(out, "SHA256SUMS")); err != nil {
			t.Fatal(err)
		}
		check := exec.Command("sha256sum", "-c", "SHA256SUMS")
		check.Dir = out
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v\n%s", err, said)
		}
		if n := bytes.Count(sums[i], []byte("\n")); n != 3 {
			t.Errorf("%d sums, want 3:\n%s", n, sums[i])
		}
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("the same sources gave two results:\n%s\n%s", sums[0], sums[1])
	}
}

// copySources copies the sources, without what was made of them.
func copySources(t *testing.T, to string) {
	t.Helper()
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		from := filepath.Join("../..", e.Name())
		switch {
		case slices.Contains([]string{".git", "bin", "dist", "berth-data"}, e.Name()):
		case e.IsDir():
			if err := os.CopyFS(filepath.Join(to, e.Name()), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		default:
			b, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
