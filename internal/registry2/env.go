package registry2

import (
	"fmt"
	"slices"
	"strings"

	"berth/config"
)

const (
	prefix = "REGISTRY_"

	// configurationPath names registry:2's own file; it is no setting.
	configurationPath = prefix + "CONFIGURATION_PATH"

	// clientLogins is a variable of podman, skopeo and buildah: where clients
	// keep their log-ins. registry:2 has no auth type "file" that it could mean.
	clientLogins = prefix + "AUTH_FILE"
)

// FromEnv translates the REGISTRY_* variables of an environment in the form of
// os.Environ, by registry:2's rules: they count in the order of their names,
// each value is YAML, and one variable may hold a whole subtree. The variables
// that Kubernetes injects for a Service named registry are passed over, and
// those that belong to others.
func FromEnv(environ []string, as Mode) config.Overlay {
	var t translation
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, prefix), name == configurationPath, name == clientLogins:
		case config.Injected(strings.ToUpper(name), value):
		default:
			t.variable(name, value)
		}
	}
	t.auth()
	t.defaults(as)
	return t.out
}

// translation is the state of one FromEnv.
type translation struct {
	out config.Overlay

	understood bool // something was translated
	addr       bool // http.addr was set
	deletion   bool // storage.delete.enabled was set

	none     string // the variable that said there is no log-in
	htpasswd string // the first variable that spoke of htpasswd
	path     bool   // auth.htpasswd.path was set
	realm    bool   // auth.htpasswd.realm was set
}

func (t *translation) variable(name, value string) {
	path, ok := canonical(strings.Split(strings.TrimPrefix(name, prefix), "_"))
	if !ok {
		t.note("%s is ignored: registry:2 knows its variables in upper case only", name)
		return
	}
	for _, s := range flatten(name, path, value) {
		t.setting(s)
	}
}

// canonical returns the path of a variable's name parts in lower case. The keys
// of registry:2's structs match in upper case only; what lies below auth and
// storage are keys of maps, which match in any case.
func canonical(parts []string) (string, bool) {
	inMap := parts[0] == "AUTH" || parts[0] == "STORAGE"
	for i, part := range parts {
		if part != strings.ToUpper(part) && (i == 0 || !inMap) {
			return "", false
		}
	}
	return strings.ToLower(strings.Join(parts, ".")), true
}

// setting translates one leaf.
func (t *translation) setting(s setting) {
	if why := refusal(s); why != "" {
		t.refuse(s.variable, why+": mend or remove the variable")
		return
	}
	if strings.HasPrefix(s.path, "auth.htpasswd") && t.htpasswd == "" {
		t.htpasswd = s.variable
	}
	switch s.path {
	case "http.addr":
		t.copy(s, "http.listen")
	case "http.tls.certificate", "http.tls.key", "auth.htpasswd.path":
		t.copy(s, s.path)
	case "auth.htpasswd.realm":
		t.copy(s, "auth.realm")
	case "storage.filesystem.rootdirectory":
		t.copy(s, "data")
	case "storage.delete.enabled":
		t.copy(s, "delete.enabled")
	case "auth":
		t.authType(s)
	case "auth.none":
		t.none = s.variable
	case "auth.htpasswd", "storage", "storage.filesystem", "http.net":
		// What Berth does anyway, or a section without any key.
	default:
		t.note("%s is not known to this version of Berth: ignored", s.variable)
	}
}

// copy hands a setting on under Berth's path. An empty one is none.
func (t *translation) copy(s setting, path string) {
	if s.value == "" {
		t.note("%s is empty: ignored", s.variable)
		return
	}
	t.understood = true
	t.addr = t.addr || path == "http.listen"
	t.deletion = t.deletion || path == "delete.enabled"
	t.path = t.path || path == "auth.htpasswd.path"
	t.realm = t.realm || path == "auth.realm"
	if path == "http.listen" {
		// One address, whatever commas it holds.
		t.out.Values = append(t.out.Values, config.List(path, []string{s.value}, s.variable))
		return
	}
	t.out.Values = append(t.out.Values, config.Scalar(path, s.value, s.variable))
}

// authType reads the short form REGISTRY_AUTH=htpasswd. Other types than these
// were refused before.
func (t *translation) authType(s setting) {
	switch strings.ToLower(s.value) {
	case "htpasswd":
		t.htpasswd = s.variable
	case "none":
		t.none = s.variable
	default:
		t.note("%s is empty: ignored", s.variable)
	}
}

// auth draws the conclusions about log-in once all variables are read. In doubt
// the server does not start, rather than start open.
func (t *translation) auth() {
	const file = prefix + "AUTH_HTPASSWD_PATH"
	switch {
	case t.none != "" && t.htpasswd != "":
		t.refuse(t.none, fmt.Sprintf("says that there is no log-in, and %s that there is: remove one of them", t.htpasswd))
	case t.none != "":
		t.understood = true
		t.out.Values = append(t.out.Values, config.Scalar("auth.htpasswd.path", "", t.none))
	case t.htpasswd != "" && !t.path:
		t.refuse(t.htpasswd, "asks for log-in with a password file, but none is named: set "+file+", such as /auth/htpasswd")
	case t.htpasswd != "" && !t.realm:
		t.note("%sAUTH_HTPASSWD_REALM is not set, without which registry:2 would not start: Berth goes on with its own realm", prefix)
	}
}

// defaults says which defaults hold where that may surprise. A server that is
// configured by REGISTRY_* listens where registry:2 would.
func (t *translation) defaults(as Mode) {
	if t.understood {
		t.out.Defaults = []config.Value{listenDefault()}
	}
	switch {
	case t.deletion:
	case as == Registry:
		t.note("clients may not delete by default, as with registry:2: %sSTORAGE_DELETE_ENABLED=true lets them", prefix)
	case t.understood:
		t.note("clients may delete by default, unlike with registry:2: %sSTORAGE_DELETE_ENABLED=false forbids it", prefix)
	}
	if as == Berth && t.understood && !t.addr {
		t.note("since %s* variables are set, the address to listen on is :5000 by default, as with registry:2", prefix)
	}
}

func (t *translation) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	if !slices.Contains(t.out.Notes, note) {
		t.out.Notes = append(t.out.Notes, note)
	}
}

func (t *translation) refuse(variable, text string) {
	same := func(p config.Problem) bool { return p.Origin == variable && p.Text == text }
	if !slices.ContainsFunc(t.out.Problems, same) {
		t.out.Problems = append(t.out.Problems, config.Problem{Origin: variable, Text: text})
	}
}
