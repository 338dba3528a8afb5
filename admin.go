package berth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/api"
	"berth/internal/auth"
	"berth/internal/distapi"
	"berth/internal/event"
	"berth/internal/oci"
	"berth/internal/registry"
)

// An action is something that the operator has the server do, at
// POST /admin/NAME with the parameters in the query. What it tells meanwhile
// reaches the operator at once. It ends early with an error when ctx does: the
// operator has gone.
type action func(ctx context.Context, parameters url.Values, tell func(any) error) error

// actions are what the operator can ask for, by name.
func (s *Server) actions() map[string]action {
	return map[string]action{
		"adopt":            s.adoptNow,
		"backup":           s.takeBackup,
		"backup-alive":     s.backupAlive,
		"backup-damaged":   s.backupDamaged,
		"backup-end":       s.backupEnd,
		"collect":          s.collect,
		"collector":        s.collectorStatus,
		"df":               s.df,
		"endpoints":        s.listEndpoints,
		"events":           s.listEvents,
		"fsck":             s.check,
		"replay":           s.replay,
		"export-registry2": s.exportRegistry2,
		"simulate":         s.simulateNow,
		"retain":           s.retainNow,
		"tag-history":      s.tagHistory,
		"tag-move":         s.moveTag,
		"delete-repo":      s.deleteRepo,
		"trash":            s.listTrash,
		"trash-empty":      s.emptyTrash,
		"trash-restore":    s.restoreTrash,
	}
}

// byOperator returns by as the operator, whom no log-in names.
func byOperator(by event.Actor) event.Actor {
	by.Name, by.Via, by.Addr = "", viaOperator, ""
	return by
}

// viaOperator is by whom it is known that somebody is the operator: by the
// socket, or by opening the data directory.
const viaOperator = "operator"

// openToOperator returns the registry as its operator may use it.
func (s *Server) openToOperator(_ auth.Principal, by event.Actor) registry.Service {
	return s.core.AsOperator(byOperator(by))
}

// adminHandler is what the operator reaches: what clients do, without log-in, and
// the actions at /admin/.
func (s *Server) adminHandler(rest *api.Handler) http.Handler {
	dist := &distapi.Handler{
		Open:        s.openToOperator,
		Policy:      auth.NewRules(auth.RuleBook{Rules: auth.Operator()}),
		MaxManifest: int64(s.cfg.Manifests.MaxSize),
		Log:         s.log,
	}
	restHandler := beside(dist, rest)
	actions := s.actions()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isAction := strings.CutPrefix(r.URL.Path, "/admin/")
		do := actions[name]
		switch {
		case !isAction:
			if err := s.awaitAdopted(r.Context(), func(any) error { return nil }); err != nil {
				http.Error(w, "what registry:2 has could not be taken over: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
			if isRest(r.URL.EscapedPath()) {
				restHandler.ServeHTTP(w, r)
				return
			}
			dist.ServeHTTP(w, r)
		case do == nil:
			http.Error(w, "this version of Berth does not know "+r.URL.Path, http.StatusNotFound)
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "an action takes POST", http.StatusMethodNotAllowed)
		default:
			do.serve(w, r)
		}
	})
}

// An adminLine is a line of the answer to an action. The last one says whether
// it was done; without it, the answer was cut off.
type adminLine struct {
	Told     any       `json:"told,omitempty"`
	Progress *progress `json:"progress,omitempty"`
	Error    string    `json:"error,omitempty"`
	Done     bool      `json:"done,omitempty"`
}

// progress says how far an action has come. An action that takes long tells one
// every now and then, and the operator's program shows it.
type progress struct {
	What  string `json:"what"`            // is being done: "read blobs"
	Done  int64  `json:"done"`            // of Total
	Total int64  `json:"total"`           // 0 when it is not known
	Bytes bool   `json:"bytes,omitempty"` // whether these are bytes, and not things
}

// serve does the action, and answers with a line of JSON for everything that it
// tells.
func (do action) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines, control := json.NewEncoder(w), http.NewResponseController(w)
	tell := func(v any) error {
		line := adminLine{Told: v}
		if p, ok := v.(progress); ok {
			line = adminLine{Progress: &p}
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
		return control.Flush()
	}
	last := adminLine{Done: true}
	if err := do(r.Context(), r.URL.Query(), tell); err != nil {
		last = adminLine{Error: err.Error()}
		if e, ok := errors.AsType[*oci.Error](err); ok {
			last.Error = e.Message // the operator needs no code
		}
	}
	_ = lines.Encode(last) // an operator who has gone needs no answer
}
