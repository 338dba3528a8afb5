package ops

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAccessLogPlain holds that what clients say of themselves cannot speak to
// the terminal on which the log is read. JSON escapes controls of ASCII only.
func TestAccessLogPlain(t *testing.T) {
	for given, want := range map[string]string{
		"docker/27 (linux; \"x\")":  "docker/27 (linux; \"x\")",
		"Übersee 上海 …":              "Übersee 上海 …",
		"a\u009b31mb\u0085c\u2028d": "a?31mb?c?d",
		"a\x1b[31m\r\n\tb\x7f":      "a?[31m???b?",
		"\xff\xc3 \u202egpj":        "?? ?gpj",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["User-Agent"] = []string{given}
		_, line := record(t, RecordOptions{}, r, func(w http.ResponseWriter, _ *http.Request) { SetUser(w, given) })
		if line["agent"] != want || line["user"] != want {
			t.Errorf("%q: got agent %q and user %q, want %q", given, line["agent"], line["user"], want)
		}
	}
}
