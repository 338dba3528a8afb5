package config

import (
	"regexp"
	"slices"
	"strings"
)

const (
	envPrefix = "BERTH_"

	// FileVariable is the environment variable that names the configuration
	// file.
	FileVariable = envPrefix + "CONFIG"
)

// ParseEnv reads the BERTH_* variables of an environment in the form of
// os.Environ. Their names count in any case. Unknown ones are problems, since
// a setting that is silently not in force is worse than a server that does not
// start; those that Kubernetes injects are passed over.
func ParseEnv(environ []string) Overlay {
	var o Overlay
	known := fields()
	seen := map[string]bool{}
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		if !strings.HasPrefix(upper, envPrefix) || noSetting(upper) || Injected(upper, value) {
			continue
		}
		i := slices.IndexFunc(known, func(f field) bool { return f.variable() == upper })
		switch {
		case i < 0:
			o.Problems = append(o.Problems, Problem{Origin: name, Text: "unknown variable" + didYouMean(upper, variables(known))})
		case seen[upper]:
			o.Problems = append(o.Problems, Problem{Path: known[i].path, Origin: name, Text: "given twice, in upper and lower case: remove one"})
		case strings.TrimSpace(value) == "":
			o.Problems = append(o.Problems, Problem{Path: known[i].path, Origin: name, Text: "is empty: give it a value, or remove the variable"})
		default:
			o.Values = append(o.Values, Scalar(known[i].path, value, name))
		}
		seen[upper] = true
	}
	return o
}

// noSetting reports whether a variable sets no key and is none of our mistakes:
// the name of the file, or one of those that the project's own Makefile and
// tests hand down to a server which they start.
func noSetting(name string) bool {
	switch name {
	case FileVariable, "BERTH_TOOLS", "BERTH_SOAK", "BERTH_SKIPS":
		return true
	}
	return strings.HasPrefix(name, "BERTH_TEST_")
}

// configFile returns the file that the environment names, or nothing.
func configFile(environ []string) string {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.ToUpper(name) == FileVariable {
			return value
		}
	}
	return ""
}

func variables(known []field) []string {
	names := []string{FileVariable}
	for _, f := range known {
		names = append(names, f.variable())
	}
	return names
}

var (
	serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT|SERVICE_PORT_[A-Z0-9_]+|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	portLink    = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// Injected reports whether an environment variable is one of those that
// Kubernetes gives to every container for a Service in its namespace. A Service
// named berth, or registry, or registry-auth, makes BERTH_PORT=tcp://10.0.0.1:80,
// REGISTRY_SERVICE_HOST, REGISTRY_AUTH_PORT_5000_TCP_ADDR and so on, which look
// like settings and are none. name is in upper case.
func Injected(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && portLink.MatchString(value)
}
