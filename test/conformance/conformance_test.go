package conformance

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

const user, password = "conformance", "correct horse battery staple"

// TestConformance runs the suite against Berth as it is without any setting,
// and with each way of logging in.
func TestConformance(t *testing.T) {
	htpasswd := realtest.NewCLI(t, "htpasswd")
	users := filepath.Join(t.TempDir(), "users")
	htpasswd.Run("-Bbc", users, user, password)
	logIn := []string{"OCI_USERNAME=" + user, "OCI_PASSWORD=" + password}
	tests := []struct {
		name string
		args []string
		env  []string
	}{
		{"default configuration", nil, nil},
		{"log-in", []string{"--htpasswd", users}, logIn},
		{"log-in, a challenge for each request", []string{"--htpasswd", users}, append([]string{"OCI_CACHE_AUTH=false"}, logIn...)},
		{"anonymous pull, bearer tokens", []string{"--htpasswd", users, "--anonymous", "pull"}, logIn},
		{"anonymous pull, a token for each request", []string{"--htpasswd", users, "--anonymous", "pull"}, append([]string{"OCI_CACHE_AUTH=false"}, logIn...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := realtest.Start(t, realtest.Options{Args: tt.args})
			checkReport(t, runSuite(t, reg, tt.env))
			if len(tt.args) > 0 {
				checkRefused(t, reg)
			}
		})
	}
}

// checkRefused shows that log-in was on: a push without is refused.
func checkRefused(t *testing.T, reg *realtest.Registry) {
	t.Helper()
	resp, err := reg.Client.Post(reg.URL+"/v2/conformance/repo1/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("a push without log-in got %s, want 401", resp.Status)
	}
}

// A report is what the suite leaves behind.
type report struct {
	summary  string // results.yaml
	stdout   string
	err      error
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Disabled int      `xml:"disabled,attr"`
	Cases    []struct {
		Name   string `xml:"name,attr"`
		Status string `xml:"status,attr"`
	} `xml:"testsuite>testcase"`
}

// runSuite runs the suite with everything on: the newest spec, and the one kind
// of data that it leaves out by default.
func runSuite(t *testing.T, reg *realtest.Registry, env []string) report {
	t.Helper()
	results := t.TempDir()
	suite := realtest.NewCLI(t, "conformance").With(
		"OCI_REGISTRY="+reg.Addr, "OCI_TLS=disabled", "OCI_VERSION=dev", "OCI_DATA_SPARSE=true",
		"OCI_RESULTS_DIR="+results,
	).With(env...)
	var r report
	r.stdout, r.err = suite.Try()
	text, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("%v; the suite: %v", err, r.err)
	}
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	summary, err := os.ReadFile(filepath.Join(results, "results.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.summary = string(summary)
	return r
}

// checkReport wants everything run and everything passed.
func checkReport(t *testing.T, r report) {
	t.Helper()
	for _, c := range r.Cases {
		if c.Status != "passed" {
			t.Errorf("%s: %s", c.Status, c.Name)
		}
	}
	if r.err != nil {
		t.Errorf("the suite ended with %v", r.err)
	}
	if r.Failures+r.Errors+r.Skipped+r.Disabled != 0 || r.Tests < 1000 {
		t.Errorf("got %d tests, %d failed, %d errors, %d skipped, %d disabled; want at least 1000 tests, and 0 of the rest\n%s",
			r.Tests, r.Failures, r.Errors, r.Skipped, r.Disabled, r.stdout)
	}
	on, off := options(r.summary)
	if len(off) > 0 || len(on) < 31 {
		t.Errorf("%d options on, %v off; want all on", len(on), off)
	}
	passed, rest := outcomes(r.summary)
	if len(rest) > 0 || len(passed) < 52 {
		t.Errorf("%d kinds of requests and data passed, these did not: %v", len(passed), rest)
	}
	t.Logf("%d tests, all passed; options on: %d, off: none; kinds of requests and data: %d", r.Tests, len(on), len(passed))
}

// options returns the options of the suite that were on, and off, by the
// configuration in its summary.
func options(summary string) (on, off []string) {
	path := []string{}
	for line := range strings.Lines(summary) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		if !ok || depth > len(path) {
			continue
		}
		path = append(path[:depth], key)
		if len(path) < 3 || path[0] != "config" || !slices.Contains([]string{"apis", "data"}, path[1]) {
			continue
		}
		switch strings.TrimSpace(value) {
		case "true":
			on = append(on, strings.Join(path[1:], "."))
		case "":
		default:
			off = append(off, strings.Join(path[1:], "."))
		}
	}
	return on, off
}

// outcomes returns what passed by the summary, and what did not.
func outcomes(summary string) (passed, rest []string) {
	section := ""
	for line := range strings.Lines(summary) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok:
		case !strings.HasPrefix(line, " "):
			section = key
		case section != "apis" && section != "data":
		case strings.TrimSpace(value) == "Pass":
			passed = append(passed, key)
		default:
			rest = append(rest, key)
		}
	}
	return passed, rest
}

// TestSummary shows that an option that is off, and a kind of data that was
// left out, are seen.
func TestSummary(t *testing.T) {
	const text = "config:\n  cacheAuth: false\n  apis:\n    push: true\n    blobs:\n      atomic: false\n" +
		"  data:\n    sparse: false\n    image: true\n  roData:\n    tags: []\napis:\n  Ping: Pass\n  Tag delete: Disabled\ndata:\n  Image: Skip\n"
	on, off := options(text)
	if got, want := strings.Join(on, " "), "apis.push data.image"; got != want {
		t.Errorf("on: got %s, want %s", got, want)
	}
	if got, want := strings.Join(off, " "), "apis.blobs.atomic data.sparse"; got != want {
		t.Errorf("off: got %s, want %s", got, want)
	}
	passed, rest := outcomes(text)
	if got, want := strings.Join(passed, " ")+"/"+strings.Join(rest, " "), "Ping/Tag delete Image"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
