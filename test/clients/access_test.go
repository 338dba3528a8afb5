package clients

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"berth/test/realtest"
)

// from opens a proxy to a registry, which says that its clients are at address.
func from(t *testing.T, reg *realtest.Registry, address string) (host string) {
	t.Helper()
	to, err := url.Parse(reg.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", address)
	}})
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// TestAccessRules has each client pull without log-in what everybody may pull,
// push with log-in where it may create, and move no tag there.
func TestAccessRules(t *testing.T) {
	reg := start(t, realtest.Options{Args: []string{"--htpasswd", passwordFile(t)}, Env: []string{
		`BERTH_ACCESS=[{anonymous: true, repositories: ["public/**"], allow: [pull]},
			{users: ["*"], repositories: ["team/*"], allow: [pull, create]}, {users: ["*"], repositories: ["public/**"], allow: [push]}]`,
	}})
	r := reader{client: reg.Client, url: reg.URL, user: user, password: password}
	for name, maker := range makers() {
		t.Run(name, func(t *testing.T) {
			p := maker(t, plainHTTP, nil, realtest.NewLayout(t, realtest.Image{Seed: seed("access " + name)}))
			public, team := reg.Addr+"/public/"+name+":1.0.0", reg.Addr+"/team/"+name+":1.0.0"
			refused(t)(p.push(public))
			must(t)(p.login(reg.Addr, user, password))
			must(t)(p.push(team))
			must(t)(p.push(team)) // nothing moves
			r.mustBeWhole(t, "team/"+name, "1.0.0")
			before := r.digest(t, "team/"+name, "1.0.0")
			must(t)(p.pull(team))
			refused(t)(p.push(reg.Addr + "/elsewhere/" + name + ":1.0.0"))

			other := maker(t, plainHTTP, nil, realtest.NewLayout(t, realtest.Image{Seed: seed("access, moved " + name)}))
			must(t)(other.login(reg.Addr, user, password))
			refused(t)(other.push(team))
			if got := r.digest(t, "team/"+name, "1.0.0"); got != before {
				t.Errorf("the tag was moved from %s to %s", before, got)
			}
			must(t)(other.push(strings.TrimSuffix(team, "1.0.0") + "1.0.1"))

			must(t)(p.push(public))
			p.logout(reg.Addr)
			must(t)(p.pull(public))
			refused(t)(p.pull(team))
		})
	}
}

// TestAddresses has docker come from an address that is in the list, and from
// one that is not, without log-in.
func TestAddresses(t *testing.T) {
	reg := start(t, realtest.Options{Env: []string{
		"BERTH_HTTP_TRUSTED_PROXIES=127.0.0.1",
		`BERTH_ACCESS=[{anonymous: true, addresses: [10.0.0.0/8], allow: [pull, push, delete]},
			{anonymous: true, addresses: [192.0.2.0/24], repositories: ["public/**"], allow: [pull]}]`,
	}})
	office, guest, street := from(t, reg, "10.1.2.3"), from(t, reg, "192.0.2.9"), from(t, reg, "10.1.2.3, 203.0.113.5")
	docker := realtest.Docker(t)
	image := realtest.Image{Seed: seed("addresses")}
	for _, repo := range []string{"public/app:v1", "team/app:v1"} {
		docker.Run("push", docker.Build(office+"/"+repo, image))
		wantText(t, docker.Fails("push", docker.Build(guest+"/"+repo, image)), "denied")
		wantText(t, docker.Fails("push", docker.Build(street+"/"+repo, image)), "denied")
		wantText(t, docker.Fails("pull", street+"/"+repo), "denied")
		docker.Run("pull", office+"/"+repo)
	}
	docker.Run("pull", guest+"/public/app:v1")
	wantText(t, docker.Fails("pull", guest+"/team/app:v1"), "denied")
	if got := readerOf(reg).status(t, http.MethodGet, "/v2/"); got != http.StatusForbidden {
		t.Errorf("from this machine, which is on no list: got %d, want 403", got)
	}
}

// TestReadOnly has docker pull from a registry that takes no writes, and not
// push to it.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	docker := realtest.Docker(t)
	image := realtest.Image{Seed: seed("read-only")}
	writable := start(t, realtest.Options{Dir: dir})
	docker.Run("push", docker.Build(writable.Addr+"/app:v1", image))
	writable.Stop()
	reg := start(t, realtest.Options{Dir: dir, Env: []string{"BERTH_READ_ONLY=true"}})
	docker.Run("pull", reg.Addr+"/app:v1")
	said := docker.Fails("push", docker.Build(reg.Addr+"/app:v2", realtest.Image{Seed: seed("read-only, new")}))
	wantText(t, said, "read-only")
}
