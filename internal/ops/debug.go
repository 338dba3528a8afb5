package ops

import (
	"encoding/json"
	"net/http"
	"os"
	"runtime"
)

// vars answers as /debug/vars of Go's expvar package does, and so registry:2:
// one JSON object with the command line, what the runtime says of memory, and
// more. Of the command line only the program is told: what stands behind it is
// nobody's business who only reads numbers.
func vars(more func() map[string]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		all := map[string]any{"cmdline": program(), "memstats": memory}
		if more != nil {
			for name, v := range more() {
				all[name] = v
			}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(all) // the asker may be gone
	})
}

func program() []string { return os.Args[:min(1, len(os.Args))] }

// cmdline answers for the profiler that wants to know which program this is.
func cmdline(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, name := range program() {
		_, _ = w.Write([]byte(name)) // the asker may be gone
	}
}
