package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// count checks the bounds of a number.
func (k *checker) count(path string, n, least, most int) {
	if n < least || n > most {
		k.add(path, "%d is out of bounds: write a number from %d to %d", n, least, most)
	}
}

// notifications checks the endpoints. URLs are not repeated: they may hold
// passwords.
func (k *checker) notifications(n Notifications) {
	var names []string
	for i, e := range n.Endpoints {
		path := element("notifications.endpoints", i)
		switch {
		case strings.TrimSpace(e.Name) == "":
			k.add(path+".name", "is empty: give the endpoint a name of its own")
		case slices.Contains(names, e.Name):
			k.add(path+".name", "%q is the name of another endpoint, too: each needs its own", e.Name)
		}
		names = append(names, e.Name)
		k.webAddress(path+".url", e.URL)
		k.between(path+".timeout", e.Timeout, time.Millisecond, day, "")
		k.between(path+".backoff", e.Backoff, time.Millisecond, day, "")
		k.count(path+".threshold", e.Threshold, 1, 1e6)
		for j, a := range e.IgnoreActions {
			oneOf(k, element(path+".ignore_actions", j), a, "push", "pull", "mount", "delete")
		}
		k.patterns(path+".repositories", e.Repositories)
	}
}

func (k *checker) webAddress(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		k.add(path, "is no URL: write one such as https://example.com/path")
	}
}

func (k *checker) health(h Health) {
	const section = "health."
	k.count("health.storage.threshold", h.Storage.Threshold, 1, 1e6)
	for i, f := range h.Files {
		path := element(section+"files", i)
		if f.File == "" {
			k.add(path+".file", "is empty: name a file")
		}
		k.between(path+".interval", f.Interval, time.Second, day, "")
	}
	for i, c := range h.HTTP {
		path := element(section+"http", i)
		k.webAddress(path+".url", c.URL)
		k.count(path+".status", c.Status, 100, 599)
		k.often(path, c.Timeout, c.Interval, c.Threshold)
	}
	for i, c := range h.TCP {
		path := element(section+"tcp", i)
		if text := badAddress(c.Address, "127.0.0.1"); text != "" {
			k.add(path+".address", "%s", text)
		}
		k.often(path, c.Timeout, c.Interval, c.Threshold)
	}
}

func (k *checker) often(path string, timeout, interval time.Duration, threshold int) {
	k.between(path+".timeout", timeout, time.Millisecond, day, "")
	k.between(path+".interval", interval, time.Second, day, "")
	k.count(path+".threshold", threshold, 1, 1e6)
}

// manifests checks what is said of URLs and platforms.
func (k *checker) manifests(m Manifests) {
	for path, list := range map[string][]string{"manifests.urls.allow": m.URLs.Allow, "manifests.urls.deny": m.URLs.Deny} {
		for i, text := range list {
			if _, err := regexp.Compile(text); err != nil {
				k.add(element(path, i), "%q is no regular expression: write one such as ^https://example\\.com/", text)
			}
		}
	}
	for i, p := range m.Platforms {
		system, arch, ok := strings.Cut(p, "/")
		if p != "all" && (!ok || system == "" || arch == "" || strings.Contains(arch, "/")) {
			k.add(element("manifests.platforms", i), "%q is no platform: write one such as linux/amd64, or all", p)
		}
	}
}

// metricsPath checks where the metrics are.
func (k *checker) metricsPath(path string) {
	for _, taken := range []string{"/healthz", "/readyz", "/debug/"} {
		if path == taken || strings.HasPrefix(path, taken) && strings.HasSuffix(taken, "/") {
			k.add("metrics.path", "%q is where something else is: write another path, such as /metrics", path)
			return
		}
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		k.add("metrics.path", "%q is no path: write one such as /metrics", path)
	}
}
