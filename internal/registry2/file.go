package registry2

import (
	"errors"
	"fmt"

	"berth/config"
	"berth/internal/yamltree"
)

const defaultOrigin = "default of registry:2"

// Defaults returns the defaults of a mode, for [config.Sources].Base: those of
// registry:2 where they differ from Berth's and Berth is called as registry.
func Defaults(as Mode) config.Overlay {
	if as != Registry {
		return config.Overlay{}
	}
	return config.Overlay{Defaults: fileDefaults()}
}

// fileDefaults are what a file of registry:2 takes for granted.
func fileDefaults() []config.Value {
	return []config.Value{
		listenDefault(),
		config.Scalar("data", "/var/lib/registry", defaultOrigin),
		config.Scalar("delete.enabled", "false", defaultOrigin),
	}
}

// listenDefault is where registry:2 listens: on every network.
func listenDefault() config.Value {
	return config.List("http.listen", []string{":5000"}, defaultOrigin)
}

// Reader returns the function for [config.Sources].Registry2. It reads a file of
// registry:2 as leniently as registry:2 does, applies the REGISTRY_* variables of
// an environment in the form of os.Environ to it by registry:2's rules, and says
// the result in Berth's words. Without a file it does so for the variables alone.
func Reader(environ []string, as Mode) func(file string, data []byte) config.Overlay {
	return func(file string, data []byte) config.Overlay {
		t := &translation{as: as, file: file, keys: keys(), root: &node{kind: yamltree.Map}}
		if file != "" && !t.read(data) {
			return t.out
		}
		for _, v := range variables(environ) {
			t.apply(v)
		}
		t.translate()
		return t.out
	}
}

// read reads the file, and reports whether it could be read at all.
func (t *translation) read(data []byte) bool {
	y, err := yamltree.Parse(data)
	if err != nil && !errors.Is(err, yamltree.ErrMore) {
		line, why := yamltree.Explain(err)
		t.out.Problems = append(t.out.Problems, config.Problem{Origin: t.at(line), Text: why})
		return false
	}
	if err != nil {
		t.note("%s holds more than one document: what stands behind the line of --- is ignored", t.file)
	}
	t.root = builder{at: t.at, note: t.noteAt}.build(y, t.keys, "", 0)
	if v := t.root.field("version"); v == nil || v.text != "0.1" {
		t.refuse("version", t.root.origin, `is not 0.1, which is the only version that there is: write "version: 0.1"`)
	}
	return true
}

// at returns the origin of a line of the file.
func (t *translation) at(line int) string {
	if line == 0 {
		return t.file
	}
	return fmt.Sprintf("%s:%d", t.file, line)
}
