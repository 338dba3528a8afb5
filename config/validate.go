package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Validate returns a [Problems] with everything that is wrong with c, or nil.
// It opens no file: whether a certificate is good is found by those who use it.
// [Load] has called it already.
func (c Config) Validate() error { return Problems(c.problems()).err() }

func (c Config) problems() []Problem {
	var k checker
	k.texts(c)
	k.data(c)
	k.http(c.HTTP)
	k.tls(c.HTTP.TLS)
	k.acme(c)
	k.auth(c.Auth)
	k.token(c.Auth.Token)
	k.limits(c)
	k.times(c)
	k.manifests(c.Manifests)
	k.care(c)
	oneOf(&k, "manifests.missing", c.Manifests.Missing, MissingAccept, MissingRefuse)
	oneOf(&k, "log.level", c.Log.Level, LogDebug, LogInfo, LogWarn, LogError)
	oneOf(&k, "log.format", c.Log.Format, LogText, LogJSON)
	oneOf(&k, "registry2.shadow", c.Registry2.Shadow, ShadowAuto, ShadowOn, ShadowOff)
	k.metrics(c)
	k.access(c)
	k.proxyLogIn(c)
	k.notifications(c.Notifications)
	k.health(c.Health)
	return inOrder(k.problems)
}

// inOrder sorts problems as the keys are in the struct, and leaves the first of
// each key: what else is wrong with a value is seen better when that is mended.
func inOrder(problems []Problem) []Problem {
	known := keys()
	place := func(p Problem) int { return slices.Index(known, listOf(p.Path)) }
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(place(a), place(b)) })
	seen := map[string]bool{}
	return slices.DeleteFunc(problems, func(p Problem) bool {
		again := seen[p.Path]
		seen[p.Path] = true
		return again
	})
}

// checker collects problems.
type checker struct{ problems []Problem }

func (k *checker) add(path, format string, args ...any) {
	k.problems = append(k.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// cross adds a problem between the key path and the related ones.
func (k *checker) cross(path string, related []string, format string, args ...any) {
	k.add(path, format, args...)
	k.problems[len(k.problems)-1].related = related
}

// oneOf checks a value that has a fixed list of words.
func oneOf[T ~string](k *checker, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	last := len(words) - 1
	list := strings.Join(words[:last], ", ") + " or " + words[last]
	k.add(path, "%q is none of its values: write %s", string(value), list)
}

// texts checks that every text can be shown: a control character has no use in a
// name or a path, and a line break in one would forge log lines and headers.
func (k *checker) texts(c Config) {
	for _, f := range fields() {
		if f.typ.Kind() != reflect.String && f.typ != reflect.TypeFor[[]string]() {
			continue
		}
		for i, text := range f.format(c) {
			path := f.path
			if f.list() {
				path = element(path, i)
			}
			if strings.ContainsFunc(text, unicode.IsControl) {
				k.add(path, "holds a control character or a line break: remove it")
			}
			if !utf8.ValidString(text) {
				k.add(path, "is not UTF-8: write it in that encoding")
			}
		}
	}
}

func (k *checker) data(c Config) {
	if strings.TrimSpace(c.Data) == "" {
		k.add("data", "is empty: name the directory to keep everything in")
	}
}

func (k *checker) auth(a Auth) {
	const anonymous, htpasswd, realm = "auth.anonymous", "auth.htpasswd.path", "auth.realm"
	oneOf(k, anonymous, a.Anonymous, AnonymousNone, AnonymousPull)
	if a.Anonymous == AnonymousPull && !a.LogIn() {
		k.cross(anonymous, []string{htpasswd}, "is pull, but no log-in is configured, so everybody could push as well: set %s, or remove %s", htpasswd, anonymous)
	}
	if strings.TrimSpace(a.Realm) == "" {
		k.add(realm, "is empty: write a name, such as Berth")
	}
	if strings.ContainsAny(a.Realm, `"\`) {
		k.add(realm, `holds a quotation mark or a backslash, which a header cannot carry: remove it`)
	}
}

// Bounds of the sizes. The OCI specification wants manifests of 4 MiB accepted;
// a manifest is held in memory, so it must not be large.
const (
	leastManifest = 64 * KiB
	mostManifest  = 64 * MiB
	leastCache    = MiB
	mostCache     = 64 * GiB
)

// Bounds of the number of uploads: fewer than the least are met by a few builds at once.
const (
	leastOpen = 100
	mostOpen  = 100_000_000
)

func (k *checker) limits(c Config) {
	if m := c.Manifests.MaxSize; m < leastManifest || m > mostManifest {
		k.add("manifests.max_size", "%s is out of bounds: write a size from %s to %s", m, leastManifest, mostManifest)
	}
	if m := c.Cache.Memory; m != 0 && (m < leastCache || m > mostCache) {
		k.add("cache.memory", "%s is out of bounds: write 0 for none, or a size from %s to %s", m, leastCache, mostCache)
	}
	if c.Uploads.MaxSize < 0 {
		k.add("uploads.max_size", "is negative: write 0 for no limit, or a size such as 20GiB")
	}
	if c.Storage.Reserve < 0 {
		k.add("storage.reserve", "is negative: write 0, or a size such as 64MiB")
	}
	if n := c.Uploads.MaxOpen; n != 0 && (n < leastOpen || n > mostOpen) {
		k.add("uploads.max_open", "%d is out of bounds: write 0 for no limit, or a number from %d to %d", n, leastOpen, mostOpen)
	}
	k.count("lists.catalog_max", c.Lists.CatalogMax, 1, 1e6)
	k.count("lists.tags_max", c.Lists.TagsMax, 0, 1e6)
	if n := c.Database.Snapshots.Keep; n < 1 || n > 1000 {
		k.add("database.snapshots.keep", "%d is out of bounds: write a number from 1 to 1000", n)
	}
}

// never is a bound for times without an upper one.
const never = time.Duration(1<<63 - 1)

func (k *checker) times(c Config) {
	if every := c.Database.Snapshots.Every; every != 0 {
		k.between("database.snapshots.every", every, time.Minute, never, "0 for one at shutdown only, or ")
	}
	k.between("http.shutdown_grace", c.HTTP.ShutdownGrace, 0, day, "")
	k.between("http.shutdown_delay", c.HTTP.ShutdownDelay, 0, day, "")
	if c.Uploads.Expire != 0 {
		k.between("uploads.expire", c.Uploads.Expire, time.Minute, never, "0 for never, or ")
	}
	k.between("notifications.keep", c.Notifications.Keep, time.Minute, never, "")
	if c.Health.Storage.Enabled {
		k.between("health.storage.interval", c.Health.Storage.Interval, time.Second, day, "")
	}
	k.between("gc.grace", c.GC.Grace, time.Second, never, "")
	k.between("gc.every", c.GC.Every, time.Second, day, "")
	k.between("gc.delay", c.GC.Delay, 0, day, "")
}

// between checks the bounds of a time; also names what may be written besides.
func (k *checker) between(path string, d, least, most time.Duration, also string) {
	if d >= least && d <= most {
		return
	}
	bounds := "from " + formatDuration(least) + " to " + formatDuration(most)
	if most == never {
		bounds = "of at least " + formatDuration(least)
	}
	k.add(path, "%s is out of bounds: write %sa time %s", formatDuration(d), also, bounds)
}

func (k *checker) metrics(c Config) {
	const path = "metrics.listen"
	address := c.Metrics.Listen
	if address == "" {
		return
	}
	k.metricsPath(c.Metrics.Path)
	if text := badAddress(address, "127.0.0.1"); text != "" {
		k.add(path, "%s", text)
		return
	}
	if strings.HasPrefix(address, ":") {
		k.add(path, "%q has no host, and metrics are read without log-in: write 127.0.0.1%s, or 0.0.0.0%s if every network shall reach them", address, address, address)
		return
	}
	for _, other := range c.Derive().HTTP.Listen {
		if badAddress(other, "") == "" && collide(address, other) {
			k.cross(path, []string{"http.listen", "auth.htpasswd.path"}, "%q is taken by http.listen (%q): write another port", address, other)
			return
		}
	}
}
