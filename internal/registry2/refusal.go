package registry2

import "strings"

// refusal returns why a setting must not be ignored, nothing if it may. The
// value is never part of it: it may be a secret.
func refusal(s setting) string {
	if isSection(s.path) && s.value != "" {
		return "holds a text where keys belong, as in {key: value}, or is not valid YAML"
	}
	section, rest, _ := strings.Cut(s.path, ".")
	switch section {
	case "storage":
		return storageRefusal(s, rest)
	case "auth":
		return authRefusal(s, rest)
	case "proxy":
		if s.value != "" {
			return "makes the registry a mirror of another one, which this version of Berth cannot be"
		}
	case "http":
		return httpRefusal(s, rest)
	}
	return ""
}

// storageRefusal refuses every storage but files: content would go to another
// place than people think. It refuses being read-only too, since pushes would
// be accepted.
func storageRefusal(s setting, rest string) string {
	const elsewhere = ", and this version of Berth stores files in a directory only"
	driver, _, _ := strings.Cut(rest, ".")
	switch driver {
	case "":
		if s.value != "" && !strings.EqualFold(s.value, "filesystem") {
			return "names another storage driver than filesystem" + elsewhere
		}
	case "filesystem", "cache", "delete", "redirect", "tag":
	case "maintenance":
		if strings.HasPrefix(rest, "maintenance.readonly") && s.value != "" && !strings.EqualFold(s.value, "false") {
			return "makes the registry read-only, which this version of Berth cannot be"
		}
	default:
		return "configures the storage driver " + driver + elsewhere
	}
	return ""
}

func authRefusal(s setting, rest string) string {
	const instead = ", and this version of Berth knows htpasswd only: the registry would not be protected as you think"
	kind, _, _ := strings.Cut(rest, ".")
	switch {
	case kind == "" && s.value != "" && !strings.EqualFold(s.value, "htpasswd") && !strings.EqualFold(s.value, "none"):
		return "names another way to log in than htpasswd" + instead
	case kind != "" && kind != "htpasswd" && kind != "none":
		return "configures the log-in " + kind + instead
	}
	return ""
}

// httpRefusal refuses what guards the door.
func httpRefusal(s setting, rest string) string {
	switch {
	case s.value == "":
		return ""
	case strings.HasPrefix(rest, "tls.clientcas"), strings.HasPrefix(rest, "tls.clientauth"):
		return "asks clients for certificates, which this version of Berth cannot do"
	case strings.HasPrefix(rest, "tls.letsencrypt"):
		return "asks for certificates of Let's Encrypt, which this version of Berth cannot get; set REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY instead"
	case rest == "net" && !strings.EqualFold(s.value, "tcp"):
		return "asks for another network than tcp, which this version of Berth does not listen on"
	}
	return ""
}
