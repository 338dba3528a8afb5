package guard_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"berth/internal/auth"
	"berth/internal/guard"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// errReached is what the guarded service answers to everything.
var errReached = errors.New("reached")

// A fake is a Service that records how it was called.
type fake struct {
	method   string
	args     []any
	readable func(oci.Repo) bool
}

func (f *fake) call(method string, args ...any) error {
	f.method, f.args = method, args
	return errReached
}

func (f *fake) Blob(_ context.Context, r oci.Repo, d oci.Digest) (*registry.Blob, error) {
	return nil, f.call("Blob", r, d)
}

func (f *fake) Manifest(_ context.Context, r oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	return meta.Manifest{}, f.call("Manifest", r, ref)
}

func (f *fake) BlobSize(_ context.Context, r oci.Repo, d oci.Digest) (int64, error) {
	return 0, f.call("BlobSize", r, d)
}

func (f *fake) MountBlob(_ context.Context, m registry.Mount) error {
	f.readable = m.Readable
	return f.call("MountBlob", m.From, m.To, m.Digest)
}

func (f *fake) StartUpload(_ context.Context, r oci.Repo, a oci.Algorithm) (registry.Upload, error) {
	return nil, f.call("StartUpload", r, a)
}

func (f *fake) ResumeUpload(_ context.Context, r oci.Repo, id meta.UploadID) (registry.Upload, error) {
	return nil, f.call("ResumeUpload", r, id)
}

func (f *fake) PutManifest(_ context.Context, p registry.Put) (registry.PutResult, error) {
	return registry.PutResult{}, f.call("PutManifest", p)
}

func (f *fake) DeleteBlob(_ context.Context, r oci.Repo, d oci.Digest) error {
	return f.call("DeleteBlob", r, d)
}

func (f *fake) DeleteManifest(_ context.Context, r oci.Repo, d oci.Digest) error {
	return f.call("DeleteManifest", r, d)
}

func (f *fake) DeleteTag(_ context.Context, r oci.Repo, t oci.Tag) error {
	return f.call("DeleteTag", r, t)
}

func (f *fake) DeleteRepo(_ context.Context, r oci.Repo) (int64, error) {
	return 0, f.call("DeleteRepo", r)
}

func (f *fake) Repos(_ context.Context, p registry.Page, readable func(oci.Repo) bool) (registry.List[oci.Repo], error) {
	f.readable = readable
	return registry.List[oci.Repo]{}, f.call("Repos", p)
}

func (f *fake) Tags(_ context.Context, r oci.Repo, p registry.Page) (registry.List[oci.Tag], error) {
	return registry.List[oci.Tag]{}, f.call("Tags", r, p)
}

func (f *fake) Referrers(_ context.Context, r oci.Repo, d oci.Digest, kind string, p registry.Page) (registry.List[oci.Entry], error) {
	return registry.List[oci.Entry]{}, f.call("Referrers", r, d, kind, p)
}

// A grant is a Policy that allows what it lists to everybody.
type grant struct {
	enter     bool
	list      []auth.Access
	otherwise auth.Verdict
}

func (g grant) Decide(_ auth.Principal, a auth.Access) auth.Decision {
	if slices.Contains(g.list, a) {
		return auth.Decision{Verdict: auth.Allowed}
	}
	return auth.Decision{Verdict: g.otherwise}
}

func (g grant) Enters(auth.Principal) auth.Decision {
	if g.enter {
		return auth.Decision{Verdict: auth.Allowed}
	}
	return auth.Decision{Verdict: g.otherwise}
}

func repo(t *testing.T, s string) oci.Repo {
	t.Helper()
	r, err := oci.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A method is one method of a Service: what it needs, a call of it, and the
// arguments that must arrive.
type method struct {
	needs auth.Access // the zero Access: entering the registry
	call  func(registry.Service) error
	args  []any
}

func methods(t *testing.T) map[string]method {
	ctx, a := t.Context(), repo(t, "a")
	d := oci.SHA256.FromBytes(nil)
	tag, err := oci.ParseTag("x")
	if err != nil {
		t.Fatal(err)
	}
	page := registry.Page{After: "b", Limit: 3}
	put := registry.Put{Repo: a, Digest: d, Tags: []oci.Tag{tag}}
	mount := registry.Mount{From: repo(t, "from"), To: a, Digest: d}
	on := func(action auth.Action) auth.Access { return auth.Access{Repo: a, Action: action} }
	return map[string]method{
		"Blob":           {on(auth.Pull), func(s registry.Service) error { _, err := s.Blob(ctx, a, d); return err }, []any{a, d}},
		"BlobSize":       {on(auth.Pull), func(s registry.Service) error { _, err := s.BlobSize(ctx, a, d); return err }, []any{a, d}},
		"Manifest":       {on(auth.Pull), func(s registry.Service) error { _, err := s.Manifest(ctx, a, oci.Ref{Tag: tag}); return err }, []any{a, oci.Ref{Tag: tag}}},
		"MountBlob":      {on(auth.Create), func(s registry.Service) error { return s.MountBlob(ctx, mount) }, []any{mount.From, a, d}},
		"StartUpload":    {on(auth.Create), func(s registry.Service) error { _, err := s.StartUpload(ctx, a, oci.SHA512); return err }, []any{a, oci.SHA512}},
		"ResumeUpload":   {on(auth.Create), func(s registry.Service) error { _, err := s.ResumeUpload(ctx, a, "id"); return err }, []any{a, meta.UploadID("id")}},
		"PutManifest":    {on(auth.Create), func(s registry.Service) error { _, err := s.PutManifest(ctx, put); return err }, []any{put}},
		"DeleteBlob":     {on(auth.Delete), func(s registry.Service) error { return s.DeleteBlob(ctx, a, d) }, []any{a, d}},
		"DeleteManifest": {on(auth.Delete), func(s registry.Service) error { return s.DeleteManifest(ctx, a, d) }, []any{a, d}},
		"DeleteTag":      {on(auth.Delete), func(s registry.Service) error { return s.DeleteTag(ctx, a, tag) }, []any{a, tag}},
		"DeleteRepo":     {on(auth.Delete), func(s registry.Service) error { _, err := s.DeleteRepo(ctx, a); return err }, []any{a}},
		"Repos":          {auth.Access{}, func(s registry.Service) error { _, err := s.Repos(ctx, page, nil); return err }, []any{page}},
		"Tags":           {on(auth.Pull), func(s registry.Service) error { _, err := s.Tags(ctx, a, page); return err }, []any{a, page}},
		"Referrers":      {on(auth.Pull), func(s registry.Service) error { _, err := s.Referrers(ctx, a, d, "k", page); return err }, []any{a, d, "k", page}},
	}
}

// TestEveryMethod calls each method that a Service has under each policy that
// grants one thing, and under those that grant all and nothing.
func TestEveryMethod(t *testing.T) {
	a, b := repo(t, "a"), repo(t, "b")
	policies := map[string]grant{"nothing": {}, "entering": {enter: true}, "nothing before log-in": {otherwise: auth.NeedsLogIn}, "reading": {otherwise: auth.ReadOnly}}
	everything, elsewhere := grant{enter: true}, grant{}
	for _, action := range []auth.Action{auth.Pull, auth.Create, auth.Push, auth.Delete} {
		one := auth.Access{Repo: a, Action: action}
		policies["only "+string(action)] = grant{list: []auth.Access{one}}
		everything.list = append(everything.list, one)
		elsewhere.list = append(elsewhere.list, auth.Access{Repo: b, Action: action})
	}
	policies["everything"], policies["everything elsewhere"] = everything, elsewhere
	cases := methods(t)
	service := reflect.TypeFor[registry.Service]()
	for i := range service.NumMethod() {
		name := service.Method(i).Name
		m, ok := cases[name]
		if !ok {
			t.Errorf("%s has no case here: who may call it?", name)
			continue
		}
		for policy, grant := range policies {
			t.Run(name+" with "+policy, func(t *testing.T) {
				check(t, name, m, grant)
			})
		}
	}
}

func check(t *testing.T, name string, m method, p grant) {
	t.Helper()
	svc, who := &fake{}, auth.Principal{Name: "alice"}
	err := m.call(guard.New(svc, who, p))
	allowed := slices.Contains(p.list, m.needs) || m.needs == (auth.Access{}) && p.enter
	if put, ok := last(m.args).(registry.Put); ok { // who may not push may not move tags
		put.KeepTags = !slices.Contains(p.list, auth.Access{Repo: put.Repo, Action: auth.Push})
		m.args = []any{put}
	}
	if allowed {
		if !errors.Is(err, errReached) || svc.method != name || !reflect.DeepEqual(svc.args, m.args) {
			t.Errorf("got error %v and a call of %q with %v, want one of %s with %v", err, svc.method, svc.args, name, m.args)
		}
		return
	}
	want := &auth.DeniedError{Principal: who, Access: m.needs, Verdict: p.otherwise}
	got, ok := errors.AsType[*auth.DeniedError](err)
	if !ok || *got != *want || svc.method != "" {
		t.Errorf("got error %v and a call of %q, want %v and none", err, svc.method, want)
	}
}

func last(list []any) any { return list[len(list)-1] }

// TestFilters holds that lists and mounts are limited to what may be pulled, and
// that a limit which the caller brings stays one.
func TestFilters(t *testing.T) {
	a, b, c := repo(t, "a"), repo(t, "b"), repo(t, "c")
	p := grant{enter: true, list: []auth.Access{{Repo: a, Action: auth.Pull}, {Repo: b, Action: auth.Pull},
		{Repo: c, Action: auth.Create}, {Repo: c, Action: auth.Delete}}}
	notB := func(r oci.Repo) bool { return r != b }
	for _, tt := range []struct {
		name     string
		readable func(oci.Repo) bool
		want     string
	}{
		{"its own", nil, "[a b]"},
		{"the caller's too", notB, "[a]"},
		{"the caller's is wider", func(oci.Repo) bool { return true }, "[a b]"},
	} {
		calls := map[string]func(registry.Service){
			"Repos":     func(s registry.Service) { s.Repos(t.Context(), registry.Page{Limit: 1}, tt.readable) },
			"MountBlob": func(s registry.Service) { s.MountBlob(t.Context(), registry.Mount{To: c, Readable: tt.readable}) },
		}
		for method, call := range calls {
			svc := &fake{}
			call(guard.New(svc, auth.Principal{}, p))
			if svc.readable == nil {
				t.Fatalf("%s: everything is readable", method)
			}
			got := slices.DeleteFunc([]oci.Repo{a, b, c}, func(r oci.Repo) bool { return !svc.readable(r) })
			if fmt.Sprint(got) != tt.want {
				t.Errorf("%s, %s: got %v, want %s", method, tt.name, got, tt.want)
			}
		}
	}
}

// TestListsWithin holds that the list of repositories is looked for where the
// policy allows any, whoever asks.
func TestListsWithin(t *testing.T) {
	team, err := oci.ParsePattern("team/**")
	if err != nil {
		t.Fatal(err)
	}
	policy := auth.NewRules(auth.RuleBook{Rules: []auth.Rule{{Users: []string{"alice"}, Repos: []oci.Pattern{team}, Allow: []auth.Action{auth.Pull}},
		{Users: []string{"root"}, Allow: []auth.Action{auth.Pull}}}})
	var limit auth.Grants
	limit.Add(auth.Access{Repo: repo(t, "x"), Action: auth.Pull})
	for _, tt := range []struct {
		who  auth.Principal
		want []string
	}{{auth.Principal{Name: "alice"}, []string{"team/"}}, {auth.Principal{Name: "root"}, nil}, {auth.Principal{Name: "root", Limit: &limit}, []string{""}}, {auth.Principal{Name: "alice", Limit: &limit}, []string{"team/"}}} {
		svc := &fake{}
		guard.New(svc, tt.who, policy).Repos(t.Context(), registry.Page{Limit: 3}, nil)
		if want := []any{registry.Page{Limit: 3, Within: tt.want}}; !reflect.DeepEqual(svc.args, want) {
			t.Errorf("%s: got %v, want %v", tt.who.Name, svc.args, want)
		}
		if all := svc.readable == nil; all != (tt.want == nil) {
			t.Errorf("%s may see all: %v", tt.who.Name, all)
		}
	}
}
