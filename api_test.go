package berth

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/config"
)

// apiRules are matrixRules, and somebody who may administer the registry and do
// nothing else. Who may do everything with every repository may not.
func apiRules(c *config.Config) {
	matrixRules(c)
	c.Access = append(c.Access, config.Rule{Users: []string{"overseer"}, Allow: allow(config.AllowAdmin)})
	c.Retention.Rules = []config.RetentionRule{{Tags: []string{"old-*"}, KeepNewest: 1, KeepPulledWithin: 24 * time.Hour}}
}

func apiClients() []client { return append(matrixClients(), client{name: "overseer"}) }

// An apiOperation is one of the description that the registry serves.
type apiOperation struct {
	ID          string `json:"operationId"`
	Description string
	Parameters  []struct{ Name, In string }
	RequestBody *struct{} `json:"requestBody"`
	Responses   map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}

	method, path string
}

// apiOperations reads the description that a registry serves.
func (s *site) apiOperations() (list []apiOperation, description string) {
	s.t.Helper()
	a := s.want("200", client{}, "GET", "/api/v1/openapi.json", "")
	var d struct {
		Paths map[string]map[string]apiOperation
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		s.t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			op := d.Paths[path][method]
			op.method, op.path = strings.ToUpper(method), path
			list = append(list, op)
		}
	}
	return list, a.body
}

// apiNeeds says what each operation takes: rights on the repository that it names;
// enter for what needs no more than to log in, where log-in is needed; sees for what
// is not there for those who may not pull; and nothing.
// It is written from what the operations mean, not from their table.
func apiNeeds() map[string]string {
	return map[string]string{
		"description": "", "about": "enter", "listRepositories": "enter",
		"getRepository": "pull", "listTags": "pull", "deleteRepository": "delete",
		"listTrash": "enter", "getTrash": "enter sees", "restoreTrash": "enter sees push delete", "dropTrash": "enter sees delete",
		"listHistory": "pull", "rollback": "pull push delete",
		"getCollector": "inspect", "collect": "admin", "getChecks": "inspect", "check": "admin",
		"getRetention": "inspect", "retain": "admin", "simulateRetention": "pull",
		"getUsage": "inspect", "measureUsage": "inspect", "listUsage": "inspect",
	}
}

// An apiCase is how an operation is asked, so that it can be done.
type apiCase struct {
	target, body string
}

// prepareAPI makes an operation possible for those who may, on repo.
func (s *site) prepareAPI(op apiOperation, repo string) apiCase {
	s.t.Helper()
	s.put(repo, "v1", "one")
	c := apiCase{}
	id := ""
	switch op.ID {
	case "getUsage":
		s.measure()
	case "getTrash", "restoreTrash", "dropTrash", "listTrash":
		id = s.trashed(repo)
	case "rollback":
		s.put(repo, "v1", "two")
		c.body = `{"tag":"v1"}`
	}
	c.target = strings.NewReplacer("{name}", repo, "{id}", id).Replace(op.path)
	return c
}

// trashed has the operator delete v1 of repo, and returns the number of that in the
// trash.
func (s *site) trashed(repo string) (id string) {
	s.t.Helper()
	if a := s.operator("DELETE", "/v2/"+repo+"/manifests/v1", ""); a.status != 202 {
		s.t.Fatalf("delete: got %d %s", a.status, a.body)
	}
	var trash struct{ Entries []struct{ ID json.Number } }
	a := s.operator("GET", "/api/v1/trash?limit=1&repository="+repo, "")
	if err := json.Unmarshal([]byte(a.body), &trash); err != nil || len(trash.Entries) != 1 {
		s.t.Fatalf("trash: got %d %s", a.status, a.body)
	}
	return trash.Entries[0].ID.String()
}

// measure has the space measured, as the server does when it runs.
func (s *site) measure() {
	s.t.Helper()
	r, err := s.s.measuring.meter.Registry(s.t.Context(), reportLayers)
	if err != nil {
		s.t.Fatal(err)
	}
	s.s.measuring.last.Store(&r)
}

// apiAllowed returns whether c may, and if not the answer.
func apiExpected(op apiOperation, c client, repo string, readOnly bool) string {
	refused := "403 DENIED"
	if c.name == "" {
		refused = "401 UNAUTHORIZED"
	}
	for _, need := range strings.Fields(apiNeeds()[op.ID]) {
		switch need {
		case "enter":
			if c.name == "" {
				return refused
			}
		case "sees":
			if !may(c, "pull", repo) {
				return "404 MANIFEST_UNKNOWN"
			}
		case "inspect", "admin":
			if c.name != "overseer" {
				return refused
			}
			if need == "admin" && readOnly {
				return "405 UNSUPPORTED"
			}
		default:
			if !may(c, need, repo) {
				return refused
			}
			if readOnly && need != "pull" {
				return "405 UNSUPPORTED"
			}
		}
	}
	return "done"
}

// TestAPIByRole is row A1 for the API under /api/v1/: each operation × kind of
// client × repository answers as the rights of that client say, and each other
// method of its address is refused; with and without read-only.
func TestAPIByRole(t *testing.T) {
	for _, mode := range []string{"writable", "read-only"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), func(c *config.Config) {
				apiRules(c)
				c.ReadOnly = mode == "read-only"
			})
			ops, _ := s.apiOperations()
			methods := map[string][]string{}
			for _, op := range ops {
				methods[op.path] = append(methods[op.path], op.method)
				if _, ok := apiNeeds()[op.ID]; !ok {
					t.Errorf("nobody has said here who may do %s", op.ID)
				}
			}
			if len(ops) != len(apiNeeds()) {
				t.Errorf("%d operations, and %d of which is said here who may do them", len(ops), len(apiNeeds()))
			}
			for _, op := range ops {
				for _, c := range apiClients() {
					for i, repo := range []string{"team/app", "team-evil/app", "public/app"} {
						if i > 0 && (mode == "read-only" || !strings.Contains(op.path, "{")) {
							break // the repository makes no difference, or none that has not been seen
						}
						s.askAPI(op, c, repo, mode == "read-only")
					}
					s.otherMethods(op, c, methods[op.path])
				}
			}
		})
	}
}

// askAPI asks one operation as c, and by HEAD where there is GET.
func (s *site) askAPI(op apiOperation, c client, repo string, readOnly bool) {
	s.t.Helper()
	how := s.prepareAPI(op, repo)
	want := apiExpected(op, c, repo, readOnly)
	before := s.state(repo)
	a := s.do(c, op.method, how.target, how.body)
	got := a.summary()
	if a.status < 300 {
		got = "done"
	}
	if got != want {
		s.t.Errorf("%+v %s %s: got %s %s, want %s", c, op.method, how.target, a.summary(), a.body, want)
	}
	if want != "done" && s.state(repo) != before {
		s.t.Errorf("%+v %s %s: was refused and changed something", c, op.method, how.target)
	}
	if want == "401 UNAUTHORIZED" && a.header.Get("Www-Authenticate") == "" {
		s.t.Errorf("%+v %s %s: no challenge", c, op.method, how.target)
	}
	if op.method == "GET" {
		if h := s.do(c, "HEAD", how.target, ""); h.status != a.status || h.body != "" {
			s.t.Errorf("%+v HEAD %s: got %d %q, want %d and nothing", c, how.target, h.status, h.body, a.status)
		}
	}
}

// otherMethods asks the address of op with the methods that it does not have.
func (s *site) otherMethods(op apiOperation, c client, has []string) {
	s.t.Helper()
	target := strings.NewReplacer("{name}", "team/app", "{id}", "1").Replace(op.path)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		if slices.Contains(has, method) {
			continue
		}
		a := s.do(c, method, target, "")
		if a.summary() != "405 UNSUPPORTED" || !strings.Contains(a.header.Get("Allow"), has[0]) {
			s.t.Errorf("%+v %s %s: got %s with Allow %q, want 405 with %v", c, method, target, a.summary(), a.header.Get("Allow"), has)
		}
	}
}

// compileSchemas reads a description and returns what holds a value against the
// schema at a pointer into it.
func compileSchemas(t *testing.T, description string) func(pointer, value string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(description))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020) // which is what OpenAPI 3.1 uses
	c.AssertFormat()
	if err := c.AddResource("mem:///openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(pointer, value string) error {
		schema, err := c.Compile("mem:///openapi.json#" + pointer)
		if err != nil {
			return err
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
}

// responsePointer is where the description has the schema of an answer.
func (op apiOperation) responsePointer(status int) string {
	escaped := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(op.path)
	return "/paths/" + escaped + "/" + strings.ToLower(op.method) + "/responses/" + strconv.Itoa(status) + "/content/application~1json/schema"
}

// TestAPIDescription holds the description against the handlers: every operation
// in it can be done and answers what it says, with one of the statuses that it
// says; refusals are as it says, too.
func TestAPIDescription(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), func(c *config.Config) {
		apiRules(c)
		c.Access = append(c.Access, config.Rule{Users: []string{"admin"}, Allow: allow(config.AllowAdmin)})
	})
	ops, description := s.apiOperations()
	validate := compileSchemas(t, description)
	if err := validate("/components/schemas/Repositories", `{"repositories":[{"name":1}]}`); err == nil {
		t.Error("the schemas hold nothing")
	}
	all := client{name: "admin"}
	for _, op := range ops {
		how := s.prepareAPI(op, "team/app")
		a := s.do(all, op.method, how.target, how.body)
		said, ok := op.Responses[strconv.Itoa(a.status)]
		switch {
		case !ok:
			t.Errorf("%s: answers %d %s, which the description does not say", op.ID, a.status, a.body)
		case len(said.Content) == 0 && a.body != "":
			t.Errorf("%s: answers %q, and the description says nothing of a body", op.ID, a.body)
		case len(said.Content) > 0:
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s: answers %s", op.ID, got)
			}
			if err := validate(op.responsePointer(a.status), a.body); err != nil {
				t.Errorf("%s: answers %s\n%v", op.ID, a.body, err)
			}
		}
		if apiNeeds()[op.ID] == "" {
			continue
		}
		a = s.do(client{}, op.method, how.target, how.body)
		if err := validate("/components/schemas/Error", a.body); err != nil {
			t.Errorf("%s: refuses with %s\n%v", op.ID, a.body, err)
		}
	}
}

// TestAPIRequests is about requests that are not as they should be.
func TestAPIRequests(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), apiRules)
	s.put("team/app", "v1", "one")
	admin := client{name: "admin"}
	for request, want := range map[string]string{
		"GET /api/v1":                                          "200",
		"GET /api/v1/":                                         "200",
		"GET /api/v1//":                                        "404 UNSUPPORTED",
		"GET /api/v1/nothing":                                  "404 UNSUPPORTED",
		"GET /api/v1/repositories/":                            "404 UNSUPPORTED",
		"GET /api/v1/repositories/team/app/":                   "400 NAME_INVALID",
		"GET /api/v1/repositories/team//app":                   "400 NAME_INVALID",
		"GET /api/v1/repositories/../app":                      "400 NAME_INVALID",
		"GET /api/v1/repositories/~1":                          "400 NAME_INVALID",
		"GET /api/v1/repositories/%7E1":                        "400 NAME_INVALID",
		"GET /api/v1/repositories/Team/App":                    "400 NAME_INVALID",
		"GET /api/v1/repositories/team%2Fapp":                  "200",
		"GET /api/v1/repositories/team%252Fapp":                "400 NAME_INVALID",
		"GET /api/v1/repositories/team/app":                    "200",
		"GET /api/v1/repositories/team/none":                   "404 NAME_UNKNOWN",
		"GET /api/v1/tags/team/none":                           "404 NAME_UNKNOWN",
		"GET /api/v1/repositories?limit=0":                     "400 UNSUPPORTED",
		"GET /api/v1/repositories?limit=1001":                  "400 UNSUPPORTED",
		"GET /api/v1/repositories?limit=":                      "400 UNSUPPORTED",
		"GET /api/v1/repositories?limit=x":                     "400 UNSUPPORTED",
		"GET /api/v1/repositories?limit=1&limit=1":             "400 UNSUPPORTED",
		"GET /api/v1/repositories?n=1":                         "400 UNSUPPORTED",
		"GET /api/v1/repositories?after=%zz":                   "400 UNSUPPORTED",
		"GET /api/v1/repositories?after=" + "%00" + "&limit=1": "200",
		"TRACE /api/v1/":                                       "405 UNSUPPORTED",
		"GET /api/v1/retention/team/none":                      "404 NAME_UNKNOWN",
		"GET /api/v1/retention/team/app?only=all":              "400 UNSUPPORTED",
		"GET /api/v1/retention/team/app?limit=0":               "400 UNSUPPORTED",
		"GET /api/v1/retention/team/app?rules=x":               "400 UNSUPPORTED",
		"GET /api/v1/retention/team/app":                       "200",
		"GET /api/v2/":                                         "404",
	} {
		method, path, _ := strings.Cut(request, " ")
		s.want(want, admin, method, path, "")
	}
	if a := s.do(admin, "GET", "/api/v1/usage", ""); a.status != http.StatusForbidden || !strings.Contains(a.body, "allow: [admin]") {
		t.Errorf("got %d %s, want what to write to be allowed", a.status, a.body)
	}
	s.want("503 UNAVAILABLE", client{name: "overseer"}, "GET", "/api/v1/usage", "")
	for _, h := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Content-Encoding", "gzip"}} {
		c := client{name: "overseer", header: h}
		if a := s.do(c, "POST", "/api/v1/usage", ""); a.status != 403 && a.status != 415 {
			t.Errorf("with %v: got %d", h, a.status)
		}
	}
	s.want("403 DENIED", client{name: "overseer", header: [2]string{"Origin", "http://evil.example"}}, "POST", "/api/v1/usage", "")
	s.want("202", client{name: "overseer", header: [2]string{"Origin", s.url}}, "POST", "/api/v1/usage", "")
}

// TestAPIPages is row A11 for the API: lists hold what may be pulled, and their
// pages lead from one to the next.
func TestAPIPages(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), apiRules)
	for _, repo := range []string{"a", "public/a", "team/a", "team/b", "team/c", "team-evil/a"} {
		s.put(repo, "v1", repo)
	}
	for _, tag := range []string{"v2", "v3"} {
		s.put("team/a", tag, tag)
	}
	read := func(c client, path, key string) string {
		var all []string
		for next, more := "", true; more; more = next != "" {
			a := s.want("200", c, "GET", path+"?limit=2&after="+next, "")
			var page map[string]json.RawMessage
			var items []struct{ Name string }
			next = ""
			if err := json.Unmarshal([]byte(a.body), &page); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(page[key], &items); err != nil {
				t.Fatal(err)
			}
			json.Unmarshal(page["next"], &next) // missing on the last page
			var names []string
			for _, i := range items {
				names = append(names, i.Name)
			}
			all = append(all, strings.Join(names, " "))
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct {
		c               client
		path, key, want string
	}{
		{client{name: "reader"}, "/api/v1/repositories", "repositories", "public/a team/a, team/b team/c"},
		{client{name: "stranger"}, "/api/v1/repositories", "repositories", "public/a"},
		{client{name: "overseer"}, "/api/v1/repositories", "repositories", "public/a"},
		{client{name: "reader"}, "/api/v1/tags/team/a", "tags", "v1 v2, v3"},
		{client{name: "overseer"}, "/api/v1/usage/repositories", "repositories", "a public/a, team-evil/a team/a, team/b team/c"},
	} {
		if got := read(tt.c, tt.path, tt.key); got != tt.want {
			t.Errorf("%s as %s: got %s, want %s", tt.path, tt.c.name, got, tt.want)
		}
	}
}

// TestAPIByToken shows that a token is worth as much here as at /v2/: what it was
// made for and its holder may.
func TestAPIByToken(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), apiRules)
	s.put("team/app", "v1", "one")
	s.measure()
	for _, tt := range []struct{ name, scope, works string }{
		{"reader", "repository:team/app:pull", "/api/v1/repositories/team/app"},
		{"reader", "registry:catalog:*", "/api/v1/ /api/v1/repositories"},
		{"reader", "registry:admin:*", ""},
		{"admin", "registry:admin:* repository:team/app:*", "/api/v1/repositories/team/app"},
		{"overseer", "registry:admin:*", "/api/v1/usage"},
		{"overseer", "repository:team/app:pull registry:catalog:*", "/api/v1/ /api/v1/repositories"},
	} {
		bearer := client{header: [2]string{"Authorization", "Bearer " + s.token(client{name: tt.name}, tt.scope)}}
		var works []string
		for _, path := range []string{"/api/v1/", "/api/v1/repositories", "/api/v1/repositories/team/app", "/api/v1/usage"} {
			switch a := s.do(bearer, "GET", path, ""); {
			case a.status == 200:
				works = append(works, path)
			case a.status == 401 && !strings.Contains(a.header.Get("Www-Authenticate"), "insufficient_scope"), a.status != 401 && a.status != 403:
				t.Errorf("%s with %q: got %d %s %v", path, tt.scope, a.status, a.body, a.header)
			}
		}
		if got := strings.Join(works, " "); got != tt.works {
			t.Errorf("%s with %q: %q work, want %q", tt.name, tt.scope, got, tt.works)
		}
	}
	a := s.want("401 UNAUTHORIZED", client{}, "GET", "/api/v1/usage", "")
	if got := a.header.Get("Www-Authenticate"); !strings.Contains(got, `scope="registry:admin:*"`) {
		t.Errorf("the challenge does not say what the token must be for: %s", got)
	}
}

// TestAPIOfOperator shows that the operator's own socket has the API with every
// right, and that a registry that is open to everybody gives none of the operator's.
func TestAPIOfOperator(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, func(c *config.Config) {})
	s.put("app", "v1", "one")
	s.measure()
	for _, path := range []string{"/api/v1/", "/api/v1/repositories", "/api/v1/repositories/app", "/api/v1/usage", "/api/v1/openapi.json"} {
		if a := s.operator("GET", path, ""); a.status != 200 {
			t.Errorf("operator: %s: got %d %s", path, a.status, a.body)
		}
	}
	if a := s.operator("GET", "/api/v1/", ""); !strings.Contains(a.body, `"admin":true`) {
		t.Errorf("the operator is told %s", a.body)
	}
	s.want("200", client{}, "GET", "/api/v1/repositories/app", "")
	s.want("403 DENIED", client{}, "GET", "/api/v1/usage", "")
	s.want("403 DENIED", client{}, "POST", "/api/v1/usage", "")
	a := s.want("200", client{}, "GET", "/api/v1/", "")
	if want := fmt.Sprintf(`{"version":"dev","api":"v1","user":"","admin":false,"read_only":false}%s`, "\n"); a.body != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
}

// TestAPIWithoutCORS shows that what an operator lets pages of other sites do at
// /v2/ they cannot do here.
func TestAPIWithoutCORS(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, func(c *config.Config) {
		c.HTTP.Headers = map[string][]string{"Access-Control-Allow-Origin": {"https://ui.example"}, "Access-Control-Allow-Methods": {"*"}, "X-Mine": {"yes"}}
	})
	page := client{header: [2]string{"Origin", "https://ui.example"}}
	if a := s.do(page, "GET", "/v2/", ""); a.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("this shows nothing: no CORS at /v2/ either")
	}
	a := s.do(page, "GET", "/api/v1/", "")
	for key := range a.header {
		if strings.HasPrefix(key, "Access-Control-") {
			t.Errorf("the answer has %s", key)
		}
	}
	if a.header.Get("X-Mine") != "yes" {
		t.Error("the operator's other headers are missing")
	}
}

// TestAPIExamples runs the commands of docs/http-api.md with curl.
func TestAPIExamples(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no curl")
		}
		t.Skip("no curl: apt-get install curl")
	}
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), func(c *config.Config) {
		apiRules(c)
		c.Access = append(c.Access, config.Rule{Users: []string{"admin"}, Allow: allow(config.AllowAdmin)})
	})
	page, err := os.ReadFile("docs/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	ops, _ := s.apiOperations()
	for _, op := range ops {
		_, section, _ := strings.Cut(string(page), "\n### "+op.ID+"\n")
		_, command, ok := strings.Cut(section, "```console\n$ curl ")
		if command, _, _ = strings.Cut(command, "\n"); !ok {
			t.Errorf("%s has no example", op.ID)
			continue
		}
		how := s.prepareAPI(op, "team/app")
		if at := strings.Index(command, "https://"); at >= 0 {
			command = command[:at] + s.url + how.target
		}
		command = strings.NewReplacer("alice:secret", "admin:admin").Replace(command)
		args := []string{"-sS", "--fail-with-body"}
		for i, part := range strings.Split(command, "'") {
			if i%2 == 1 {
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		if out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: curl %s: %v\n%s", op.ID, command, err, out)
		}
	}
}

// TestAPITrash is row A8: an entry of the trash is there for those who may pull from
// its repository, and for nobody else; and what is deleted comes back, whole.
func TestAPITrash(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), apiRules)
	private, admin, reader, writer := "private/app", client{name: "admin"}, client{name: "reader"}, client{name: "writer"}
	digest := s.put(private, "v1", "one")
	a := s.want("200", admin, "DELETE", "/api/v1/repositories/"+private, "")
	entry := "/api/v1/trash/" + strings.Trim(strings.TrimPrefix(strings.TrimSpace(a.body), `{"trash":`), "}")
	s.want("404 NAME_UNKNOWN", admin, "GET", "/v2/"+private+"/tags/list", "")
	s.want("404 NAME_UNKNOWN", admin, "DELETE", "/api/v1/repositories/"+private, "")
	for _, c := range []client{reader, writer, {name: "deleter"}, {name: "overseer"}, {name: "stranger"}} {
		there := s.want("404 MANIFEST_UNKNOWN", c, "GET", entry, "")
		none := s.want("404 MANIFEST_UNKNOWN", c, "GET", "/api/v1/trash/999999", "")
		if there.body != strings.Replace(none.body, "999999", strings.TrimPrefix(entry, "/api/v1/trash/"), 1) {
			t.Errorf("%s can tell %s from %s", c.name, there.body, none.body)
		}
		s.want("404 MANIFEST_UNKNOWN", c, "POST", entry+"/restore", "")
		s.want("404 MANIFEST_UNKNOWN", c, "DELETE", entry, "")
		if a := s.want("200", c, "GET", "/api/v1/trash", ""); strings.Contains(a.body, private) {
			t.Errorf("%s is told of %s", c.name, a.body)
		}
	}
	s.want("403 DENIED", reader, "GET", "/api/v1/trash?repository="+private, "")
	for body, want := range map[string]string{
		`{"as":"UPPER"}`: "400 NAME_INVALID", `{"nothing":1}`: "400 UNSUPPORTED", `{"as":1}`: "400 UNSUPPORTED", `{} {}`: "400 UNSUPPORTED",
		`{"force":"yes"}`: "400 UNSUPPORTED", `{"as":"` + strings.Repeat("a", 70_000) + `"}`: "413 UNSUPPORTED", "force=1": "415 UNSUPPORTED",
	} {
		s.want(want, admin, "POST", entry+"/restore", body)
	}
	s.want("200", admin, "POST", entry+"/restore", `{"as":"team/app"}`)
	if a := s.want("200", reader, "GET", "/v2/team/app/manifests/v1", ""); a.header.Get("Docker-Content-Digest") != digest {
		t.Errorf("what came back is %s, want %s", a.header.Get("Docker-Content-Digest"), digest)
	}
	s.want("404 MANIFEST_UNKNOWN", admin, "GET", entry, "")

	// Who may see an entry, and not do more, is told so; the target counts, too.
	entry = "/api/v1/trash/" + s.trashed("team/app")
	s.want("200", reader, "GET", entry, "")
	s.want("403 DENIED", reader, "POST", entry+"/restore", "")
	s.want("403 DENIED", writer, "DELETE", entry, "")
	s.want("204", admin, "DELETE", entry, "")
	s.want("404 MANIFEST_UNKNOWN", admin, "POST", entry+"/restore", "")
}

// TestAPIRollback shows a tag pointed back, and its history.
func TestAPIRollback(t *testing.T) {
	s := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), apiRules)
	one, two := s.put("team/app", "v1", "one"), s.put("team/app", "v1", "two")
	admin := client{name: "admin"}
	s.want("403 DENIED", admin, "POST", "/api/v1/rollback/team/app", fmt.Sprintf(`{"tag":"v1","from":%q}`, one)) // somebody was faster
	s.want("404 MANIFEST_UNKNOWN", admin, "POST", "/api/v1/rollback/team/app", `{"tag":"v2"}`)
	s.want("400 TAG_INVALID", admin, "POST", "/api/v1/rollback/team/app", `{"tag":"-"}`)
	s.want("400 DIGEST_INVALID", admin, "POST", "/api/v1/rollback/team/app", `{"tag":"v1","to":"sha256:1"}`)
	points := func() string {
		return s.do(admin, "HEAD", "/v2/team/app/manifests/v1", "").header.Get("Docker-Content-Digest")
	}
	s.want("200", admin, "POST", "/api/v1/rollback/team/app", `{"tag":"v1","dry_run":true}`)
	if points() != two {
		t.Error("a dry run moved the tag")
	}
	s.want("200", admin, "POST", "/api/v1/rollback/team/app", fmt.Sprintf(`{"tag":"v1","from":%q}`, two))
	if points() != one {
		t.Error("the tag was not moved")
	}
	var history struct {
		Moves []struct{ From, To, Cause, By string }
		Next  string
	}
	a := s.want("200", client{name: "reader"}, "GET", "/api/v1/history/team/app?tag=v1&limit=2", "")
	if err := json.Unmarshal([]byte(a.body), &history); err != nil {
		t.Fatal(err)
	}
	if len(history.Moves) != 2 || history.Moves[0].From != two || history.Moves[0].To != one || history.Moves[0].Cause != "rollback" || history.Moves[0].By != "admin" {
		t.Errorf("history: %s", a.body)
	}
	if a := s.want("200", client{name: "reader"}, "GET", "/api/v1/history/team/app?tag=v1&after="+history.Next, ""); !strings.Contains(a.body, `"cause":"push"`) {
		t.Errorf("the second page: %s", a.body)
	}
}
