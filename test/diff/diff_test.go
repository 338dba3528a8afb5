package diff

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// A difference is one that may be, and why. Of another status all the rest of an
// answer follows, and of another code its Content-Type.
type difference struct {
	id     string // of the request
	fields string // status, code, body or a header; several with commas; ? if by chance
	only   string // the version that differs; empty: both
	why    string // its row in docs/differences.md
}

// TestAnswers compares Berth with real registries, request by request. Every
// difference must be in the table, and everything in the table must be seen.
func TestAnswers(t *testing.T) {
	for _, v := range versions() {
		t.Run(v.name, func(t *testing.T) {
			seen := make(map[int]bool)
			for _, run := range []struct {
				settings
				requests []request
			}{
				{settings{deletes: true}, requests()},
				{settings{}, withoutDeletes()},
				{settings{login: true}, withLogIn()},
			} {
				client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				real := &registry{addr: startReal(t, v, run.settings), client: client}
				berth := &registry{addr: startBerth(t, run.settings), client: client}
				for _, q := range run.requests {
					compare(t, v, q, differences(real.send(t, q), berth.send(t, q)), seen)
				}
			}
			for i, d := range allowed() {
				if (d.only == "" || d.only == v.name) && !seen[i] {
					t.Errorf("%s does not differ in %s: %s", d.id, d.fields, d.why)
				}
			}
		})
	}
}

// compare holds the differences of one request against the table.
func compare(t *testing.T, v version, q request, got map[string][2]string, seen map[int]bool) {
	t.Helper()
	for i, d := range allowed() {
		if d.id != q.id || d.only != "" && d.only != v.name {
			continue
		}
		for field := range strings.SplitSeq(d.fields, ",") {
			field, sometimes := strings.CutPrefix(field, "?")
			if _, differs := got[field]; differs {
				seen[i] = true
				delete(got, field)
				switch field {
				case "status":
					clear(got)
				case "code":
					delete(got, "Content-Type")
				}
				continue
			}
			if !sometimes {
				t.Errorf("%s does not differ in %s", q.id, field)
			}
			seen[i] = true
		}
	}
	for field, values := range got {
		t.Errorf("%s: %s is %s, Berth's %s", q.id, field, shorten(values[0]), shorten(values[1]))
	}
}

// TestDocumented holds that every reason of the table is a row of the page.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, d := range allowed() {
		named[d.why] = true
		if !strings.Contains(string(page), "| "+d.why+" |") {
			t.Errorf("docs/differences.md has no row that begins with %q", d.why)
		}
	}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(line, "| ") {
			if key := strings.TrimSpace(cells[1]); key != "what" && !named[key] && !strings.HasPrefix(key, "-") {
				t.Errorf("docs/differences.md has the row %q, which no request shows", key)
			}
		}
	}
}
