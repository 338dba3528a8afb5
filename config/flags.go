package config

import (
	"maps"
	"slices"
)

// Flag is a command line flag that sets a key. Its value is text, parsed like
// that of an environment variable.
type Flag struct {
	Name  string // "listen", without dashes
	Path  string // "http.listen"
	Usage string // for --help; names the kind of value in backquotes
	List  bool   // it may be given several times
}

// Flags returns the flags for the settings that people try things out with. All
// other keys are set in the file or the environment.
func Flags() []Flag {
	return []Flag{
		{Name: "data", Path: "data", Usage: "keep everything in this `directory`"},
		{Name: "listen", Path: "http.listen", Usage: "listen on `host:port`, or :port on every network; may be repeated", List: true},
		{Name: "htpasswd", Path: "auth.htpasswd.path", Usage: "let the users of this password `file` log in, and nobody else"},
		{Name: "realm", Path: "auth.realm", Usage: "`name` to show when asking for a password"},
		{Name: "anonymous", Path: "auth.anonymous", Usage: "`what` clients may do without log-in: none or pull"},
		{Name: "tls-cert", Path: "http.tls.certificate", Usage: "certificate `file` in PEM form, with its intermediates"},
		{Name: "tls-key", Path: "http.tls.key", Usage: "private key `file` of the certificate"},
		{Name: "log-level", Path: "log.level", Usage: "log from this `level`: debug, info, warn or error"},
		{Name: "log-format", Path: "log.format", Usage: "`form` of log lines: text or json"},
		{Name: "metrics", Path: "metrics.listen", Usage: "serve metrics for Prometheus on this `host:port`"},
	}
}

// ParseFlags returns what the given flags set. Its argument maps the names of
// those flags that stood on the command line to their values.
func ParseFlags(given map[string][]string) Overlay {
	var o Overlay
	for _, f := range Flags() {
		texts, found := given[f.Name]
		origin := "flag --" + f.Name
		switch {
		case !found || len(texts) == 0:
		case f.List && len(texts) > 1:
			o.Values = append(o.Values, List(f.Path, texts, origin))
		default:
			o.Values = append(o.Values, Scalar(f.Path, texts[len(texts)-1], origin))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(Flags(), func(f Flag) bool { return f.Name == name }) {
			o.Problems = append(o.Problems, Problem{Origin: "flag --" + name, Text: "sets no key of the configuration"})
		}
	}
	return o
}
