package config

import (
	"errors"
	"slices"
	"strings"
)

// Sources is where a configuration comes from, in the order of precedence: the
// later wins.
type Sources struct {
	// Base is the defaults of a role, such as those of registry:2.
	Base Overlay

	// File is the file to read. If it is empty, the one that BERTH_CONFIG
	// names is read, or else DefaultFile if it exists.
	File string

	// Registry2 says what registry:2 is configured with, in its own file and in
	// REGISTRY_* variables: these change what the file says, so both are read as
	// one. It is called once, with the file if it is one of registry:2, and
	// otherwise with an empty name. Without it such a file is refused.
	Registry2 func(name string, data []byte) Overlay

	// Environ is the environment, in the form of os.Environ. Its BERTH_*
	// variables are read.
	Environ []string

	// Flags is what the command line says, see [ParseFlags].
	Flags Overlay
}

// Loaded is a configuration that was read and found valid.
type Loaded struct {
	Config Config   // with its derived defaults filled in
	File   string   // the file that was read; empty if none
	Notes  []string // what the sources had to say; they stop nothing

	origins map[string]string // by path, and by path[i] for elements
}

// Load reads all sources, lays them over the defaults, and validates the
// result. The error is a [Problems] with every mistake of every source.
func Load(s Sources) (*Loaded, error) {
	file := s.File
	if file == "" {
		file = configFile(s.Environ)
	}
	name, fromFile, fromRegistry2 := s.readFile(file)
	l := &Loaded{Config: Default(), File: name, origins: map[string]string{}}

	var problems Problems
	sources := []Overlay{s.Base, fromFile, fromRegistry2, ParseEnv(s.Environ), s.Flags}
	for _, o := range sources {
		problems = append(problems, Overlay{Values: o.Defaults}.apply(&l.Config, l.origins)...)
	}
	for _, o := range sources {
		problems = append(problems, o.apply(&l.Config, l.origins)...)
		l.Notes = append(l.Notes, o.Notes...)
	}
	if !unreadable(fromFile) && !unreadable(fromRegistry2) {
		problems = append(problems, l.validate(problems)...)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	l.Config = l.Config.Derive()
	return l, nil
}

// readFile reads and parses the configuration file and what registry:2 is
// configured with. What goes wrong is a problem of the overlay.
func (s Sources) readFile(file string) (name string, own, registry2 Overlay) {
	name, data, err := readFile(file)
	if err != nil {
		return name, Overlay{Problems: Problems{{Text: err.Error()}}}, s.registry2("", nil)
	}
	own, err = ParseFile(name, data)
	if errors.Is(err, ErrRegistry2) && s.Registry2 != nil {
		return name, Overlay{}, s.registry2(name, data)
	}
	if err != nil {
		own.Problems = append(own.Problems, Problem{Origin: name, Text: err.Error()})
	}
	return name, own, s.registry2("", nil)
}

func (s Sources) registry2(name string, data []byte) Overlay {
	if s.Registry2 == nil {
		return Overlay{}
	}
	return s.Registry2(name, data)
}

// unreadable reports whether the file could not be read as one, so that the
// rules about the whole would speak of settings that are only missing.
func unreadable(file Overlay) bool {
	return slices.ContainsFunc(file.Problems, func(p Problem) bool { return p.Path == "" })
}

// validate returns the problems of the configuration as a whole, with their
// origins. Rules about keys that could not even be read are passed over: what
// they would say is not about what the person wrote.
func (l *Loaded) validate(unread Problems) Problems {
	var found Problems
	for _, p := range l.Config.problems() {
		about := append([]string{p.Path}, p.related...)
		if slices.ContainsFunc(about, func(path string) bool { return mentions(unread, path) }) {
			continue
		}
		p.Origin = l.set(p.Path)
		found = append(found, p)
	}
	return found
}

// mentions reports whether any of the problems is about the key of path.
func mentions(problems Problems, path string) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return listOf(p.Path) == listOf(path) })
}

// set returns where a key, or the list or map that it is in, was set; empty if by
// nobody.
func (l *Loaded) set(path string) string {
	for {
		if origin, ok := l.origins[path]; ok {
			return origin
		}
		i := strings.LastIndexAny(path, ".[") // a key of an element, then the element, then the list
		if i < 0 {
			return ""
		}
		path = path[:i]
	}
}

// DefaultOrigin is the origin of a value that nobody has set.
const DefaultOrigin = "default"

// Origin returns where the value of a key comes from: [DefaultOrigin], or the file
// and line, the variable or the flag that set it.
func (l *Loaded) Origin(path string) string {
	if origin := l.set(path); origin != "" {
		return origin
	}
	return DefaultOrigin
}

// String names what was read, to begin a sentence with.
func (l *Loaded) String() string {
	if l.File == "" {
		return "The configuration (no file, the defaults and the environment)"
	}
	return "The configuration of " + l.File
}
