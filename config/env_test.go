package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVariables sets every key by its variable, and takes every key to have a
// variable of its own.
func TestVariables(t *testing.T) {
	owner := map[string]string{}
	for _, f := range fields() {
		name := f.variable()
		if owner[name] != "" {
			t.Errorf("%s and %s have the same variable, %s", owner[name], f.path, name)
		}
		owner[name] = f.path
		if noSetting(name) || Injected(name, "tcp://10.0.0.1:80") {
			t.Errorf("%s, of %s, would be passed over", name, f.path)
		}
		text := sample(t, f)
		o := ParseEnv([]string{name + "=" + text})
		c := Default()
		if problems := o.apply(&c, map[string]string{}); len(problems) != 0 {
			t.Errorf("%s=%s: %v", name, text, problems)
			continue
		}
		if got := strings.Join(f.format(c), ","); got != text {
			t.Errorf("%s=%s is read as %q", name, text, got)
		}
	}
}

// sample returns a text for a field that is not its default.
func sample(t *testing.T, f field) string {
	switch f.typ.String() {
	case "time.Duration":
		return "1m17s"
	case "config.Size":
		return "77MiB"
	case "[]netip.Prefix":
		return "10.7.0.0/16,10.0.0.7"
	case "[]string":
		return "a:1,[::1]:2"
	case "bool":
		return "false"
	case "int":
		return "77"
	case "map[string]string":
		return `{a b: "c: d", e: f}`
	case "map[string][]string":
		return `{a: [b, "c,d"], e: []}`
	case "[]config.Rule":
		return `[{users: ["*"], addresses: [10.0.0.0/8, "::1"], allow: [pull]}, {anonymous: true, repositories: [a/**]}]`
	case "[]config.ImmutableTags":
		return `[{repositories: [a/**], tags: [v1]}]`
	case "[]config.RetentionRule":
		return `[{tags: [a], keep_newest: 3, untagged_after: 1m17s}]`
	case "[]config.Endpoint":
		return `[{name: a, url: http://a/, headers: {Authorization: [Bearer x]}, timeout: 1m17s}]`
	case "[]config.FileCheck":
		return `[{file: /a}]`
	case "[]config.HTTPCheck":
		return `[{url: http://a/, headers: {A: [b]}, status: 204}]`
	case "[]config.TCPCheck":
		return `[{address: a:1, interval: 1m}]`
	}
	if f.typ.Kind() != reflect.String {
		t.Fatalf("%s has the type %s, of which this test knows no sample", f.path, f.typ)
	}
	return "seventy-seven"
}

// TestAllIsAll holds that the file that sets every key does, apart from those
// that exclude one of the others.
func TestAllIsAll(t *testing.T) {
	all, err := Load(Sources{File: "testdata/good-all.yml"})
	if err != nil {
		t.Fatal(err)
	}
	instead, err := Load(Sources{File: "testdata/good-certificate.yml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields() {
		l := all
		if f.path == "http.tls.certificate" || f.path == "http.tls.key" {
			l = instead
		}
		if l.Origin(f.path) == "default" {
			t.Errorf("%s is not set in testdata/good-all.yml", f.path)
		}
		if cmp.Equal(f.format(l.Config), f.format(Default().Derive())) {
			t.Errorf("%s has its default in testdata/good-all.yml", f.path)
		}
	}
}

func TestParseEnv(t *testing.T) {
	tests := []struct {
		name, entry string
		want        string // the error, or nothing
	}{
		{"not ours", "HOME=/root", ""},
		{"the file's name", "BERTH_CONFIG=", ""},
		{"the tests' own", "BERTH_TOOLS=/tools", ""},
		{"lower case", "berth_data=/srv", ""},
		{"unknown", "BERTH_COLOUR=blue", "the configuration has a problem: BERTH_COLOUR: unknown variable"},
		{"a typo", "BERTH_HTTP_LISEN=:1", "the configuration has a problem: BERTH_HTTP_LISEN: unknown variable: did you mean BERTH_HTTP_LISTEN?"},
		{"too short", "BERTH_LISTEN=:1", "the configuration has a problem: BERTH_LISTEN: unknown variable: did you mean BERTH_HTTP_LISTEN?"},
		{"nothing but the prefix", "BERTH_=1", "the configuration has a problem: BERTH_: unknown variable"},
		{"empty", "BERTH_AUTH_HTPASSWD_PATH=", "the configuration has a problem: auth.htpasswd.path (BERTH_AUTH_HTPASSWD_PATH): is empty: give it a value, or remove the variable"},
		{"a bad value", "BERTH_GC_GRACE=1x", `the configuration has a problem: gc.grace (BERTH_GC_GRACE): "1x" is no duration: write a number with a unit, such as 90s, 15m, 24h or 7d`},
		{"a bad element", "BERTH_HTTP_LISTEN=:1,2", `the configuration has a problem: http.listen[1] (BERTH_HTTP_LISTEN): "2" has no colon: write ":2"`},
		{"kubernetes, the port", "BERTH_PORT=tcp://10.96.0.12:5000", ""},
		{"kubernetes, the host", "BERTH_SERVICE_HOST=10.96.0.12", ""},
		{"kubernetes, the service's port", "BERTH_SERVICE_PORT=5000", ""},
		{"kubernetes, a named port", "BERTH_SERVICE_PORT_HTTP_WEB=5000", ""},
		{"kubernetes, the link", "BERTH_PORT_5000_TCP=tcp://10.96.0.12:5000", ""},
		{"kubernetes, the link's protocol", "BERTH_PORT_5000_TCP_PROTO=tcp", ""},
		{"kubernetes, the link's port", "BERTH_PORT_5000_TCP_PORT=5000", ""},
		{"kubernetes, the link's address", "BERTH_PORT_5000_TCP_ADDR=10.96.0.12", ""},
		{"kubernetes, another service", "BERTH_METRICS_PORT=udp://10.96.0.13:53", ""},
		{"a port that is none of Kubernetes'", "BERTH_PORT=5000", "the configuration has a problem: BERTH_PORT: unknown variable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Sources{File: "testdata/good-empty.yml", Environ: []string{tt.entry}})
			if got := errorText(err); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.entry, got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestVariableTwice refuses a variable that only case tells from another.
func TestVariableTwice(t *testing.T) {
	_, err := Load(Sources{File: "testdata/good-empty.yml", Environ: []string{"BERTH_DATA=/a", "berth_data=/b"}})
	if want := "data (berth_data): given twice"; !strings.Contains(errorText(err), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestLists(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{":5000", []string{":5000"}},
		{"[::1]:5000", []string{"[::1]:5000"}},
		{":5000,[::1]:5001", []string{":5000", "[::1]:5001"}},
		{" :5000 , :5001, ", []string{":5000", ":5001"}},
		{`[":5000", "[::1]:5001"]`, []string{":5000", "[::1]:5001"}},
		{"[a:1]", []string{"a:1"}},
		{"[]", nil},
	}
	for _, tt := range tests {
		var got []string
		for _, item := range Scalar("http.listen", tt.text, "x").split().Items {
			got = append(got, item.Text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

// TestFlags holds that every flag sets a key, and that flags given several
// times are lists.
func TestFlags(t *testing.T) {
	given := map[string][]string{}
	for _, f := range Flags() {
		given[f.Name] = []string{"x"}
	}
	o := ParseFlags(given)
	c := Default()
	if problems := o.apply(&c, map[string]string{}); len(problems) != 0 || len(o.Values) != len(Flags()) {
		t.Errorf("flags set no keys: %v", problems)
	}
	l, err := Load(Sources{File: "testdata/good-empty.yml", Flags: ParseFlags(map[string][]string{"listen": {":1", "[::1]:2"}, "realm": {"a, b"}})})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{":1", "[::1]:2"}, l.Config.HTTP.Listen); diff != "" || l.Config.Auth.Realm != "a, b" {
		t.Errorf("got realm %q and listen %s", l.Config.Auth.Realm, diff)
	}
	_, err = Load(Sources{File: "testdata/good-empty.yml", Flags: ParseFlags(map[string][]string{"speed": {"1"}})})
	if want := "flag --speed: sets no key"; !strings.Contains(errorText(err), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func FuzzParseEnv(f *testing.F) {
	for _, seed := range []string{"HTTP_LISTEN=[::1]:5000", "HTTP_LISTEN=[\":1\", {a: b}]", "DATA=\x00", "GC_GRACE=1d", "PORT=tcp://", "HTTP_TRUSTED_PROXIES=::/0,[10.0.0.1]", "HTTP_EXTERNAL_URL=https://u:p@h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		l, err := Load(Sources{File: "testdata/good-empty.yml", Environ: []string{"BERTH_" + entry}})
		checkLoaded(t, l, err)
	})
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"", "data: /a", "http: {listen: [\":1\"]}", "a: &a [*a]", "data: !!binary YQ==", "{? {a: b} : c}", "<<: {data: /a}", "data: |\n  a\n  b",
		"log: &x {level: info}\nauth: *x", "---\n---", "\xff\xfed\x00a\x00", "gc: {grace: 1d, grace: 2d}", "version: 0.1", "data: ~", "- - -", "data: 2001-01-01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseFile("fuzz.yml", data)
		if err != nil {
			return // a file of registry:2
		}
		l := &Loaded{Config: Default(), origins: map[string]string{}}
		problems := o.apply(&l.Config, l.origins)
		problems = append(problems, l.validate(problems)...)
		checkLoaded(t, l, problems.err())
	})
}

// checkLoaded holds what is true of whatever is read: an error has a text, and
// no text that lets lines be forged; what is good can be shown and read back.
func checkLoaded(t *testing.T, l *Loaded, err error) {
	t.Helper()
	if err != nil {
		var all Problems = err.(Problems)
		for _, p := range all {
			if p.Text == "" {
				t.Errorf("a problem without a text: %+v", p)
			}
		}
		return
	}
	shown := show(t, l)
	o, err := ParseFile("shown.yml", []byte(shown))
	if err != nil {
		t.Fatalf("what is shown is refused: %v\n%s", err, shown)
	}
	back := Default()
	if problems := o.apply(&back, map[string]string{}); len(problems) != 0 {
		t.Fatalf("what is shown is refused: %v\n%s", problems, shown)
	}
	for _, f := range fields() {
		if diff := cmp.Diff(f.format(l.Config), f.format(back)); diff != "" {
			t.Errorf("%s differs after it was shown: %s\n%s", f.path, diff, shown)
		}
	}
}
