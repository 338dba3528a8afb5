package proxies

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A kind of proxy, and how it is run with one of its recipes.
type kind struct {
	name   string
	recipe string // the file in deploy/ in which Berth checks who logs in
	login  string // the one in which the proxy does

	// config turns a recipe into what the proxy is started with: the name of a
	// configuration file in dir, and the arguments.
	config func(t *testing.T, dir, recipe string) (args []string)

	program string
}

func kinds() []kind {
	return []kind{
		{name: "nginx", program: "nginx", recipe: "nginx/berth.conf", login: "nginx/berth-login.conf", config: nginxConfig},
		{name: "apache", program: "apache2", recipe: "apache/berth.conf", login: "apache/berth-login.conf", config: apacheConfig},
		{name: "caddy", program: "caddy", recipe: "caddy/Caddyfile", login: "caddy/Caddyfile.login", config: caddyConfig},
	}
}

// A site is what stands in for the things that a person changes in a recipe.
type site struct {
	backend string // host:port of Berth, or the path of its socket
	users   string // the password file, of recipes that have one

	// edit changes the recipe further, to break it.
	edit func(recipe string) string
}

// A front is a proxy that runs a recipe.
type front struct {
	Name   string       // host:port as docker is told, so that it checks the certificate
	URL    string       // https://127.0.0.1:port
	Client *http.Client // trusts the certificate, follows nothing
	CAFile string
	Dir    string
	*realtest.Program
}

// readRecipe returns a file of deploy/.
func readRecipe(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// startFront runs the recipe in file as a person would, changing only what is
// theirs to change.
func startFront(t *testing.T, k kind, file string, s site) *front {
	t.Helper()
	realtest.Tool(t, k.program)
	port := strconv.Itoa(realtest.FreePort(t))
	f := &front{Name: "0.0.0.0:" + port, URL: "https://127.0.0.1:" + port, Dir: publicDir(t)}
	cert, key := f.certificate(t)
	recipe := readRecipe(t, file)
	if s.backend != "" && strings.HasPrefix(s.backend, "/") {
		recipe = overSocket(t, recipe, s.backend)
	}
	swap := []string{"https://registry.example.com:5043", f.URL + ", https://" + f.Name, "5043", port, "127.0.0.1:5000", s.backend}
	for _, d := range []string{"nginx", "apache2", "caddy"} {
		swap = append(swap, "/etc/"+d+"/certs/domain.crt", cert, "/etc/"+d+"/certs/domain.key", key, "/etc/"+d+"/berth.htpasswd", s.users)
	}
	recipe = strings.NewReplacer(swap...).Replace(recipe)
	if s.edit != nil {
		recipe = s.edit(recipe)
	}
	args := k.config(t, f.Dir, recipe)
	f.Program = realtest.StartProgram(t, realtest.ProgramOptions{
		Name: k.program, Args: args, Dir: f.Dir, Env: []string{"HOME=" + f.Dir, "XDG_DATA_HOME=" + f.Dir, "XDG_CONFIG_HOME=" + f.Dir},
		Ready: func() error { return answers("127.0.0.1:" + port) },
	})
	return f
}

// overSocket takes the line of a recipe that leads over a socket, which is there
// as a comment, instead of the one before it.
func overSocket(t *testing.T, recipe, path string) string {
	t.Helper()
	const socket = "/run/berth/berth.sock"
	lines := strings.Split(recipe, "\n")
	done := false
	for i, line := range lines {
		if !strings.Contains(line, socket) {
			continue
		}
		done = true
		_, line, _ = strings.Cut(line, "# ")
		if before, after, ok := strings.Cut(line, "reverse_proxy "); ok && before != "" { // Caddy's: the line above has a block
			lines[i] = ""
			lines[i-1] = "reverse_proxy " + after + " {"
			continue
		}
		line, _, _ = strings.Cut(line, "  ")
		lines[i-1], lines[i] = "", line
	}
	if !done {
		t.Fatal("the recipe has no line for a socket")
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), socket, path)
}

func answers(addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err
}

// certificate makes a certificate with berth itself, and the client that trusts
// it.
func (f *front) certificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := filepath.Join(f.Dir, "tls")
	realtest.NewCLI(t, realtest.Berth(t)).Run("tls", "self-signed", "--dir", dir, f.Name, "127.0.0.1")
	cert, key, f.CAFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.crt")
	if err := os.Chmod(key, 0o644); err != nil { // Caddy, httpd and nginx run as others
		t.Fatal(err)
	}
	pem, err := os.ReadFile(f.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	f.Client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return cert, key
}

// publicDir makes a folder that every user of the machine may read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "berth-front-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// worker is the user that the workers of a proxy run as, or none if this is not
// root anyway.
func worker(t *testing.T) (name, group string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return "", ""
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return "root", "root"
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "root", "root"
	}
	return "nobody", g.Name
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// nginxConfig writes what Debian's /etc/nginx/nginx.conf is to a recipe.
func nginxConfig(t *testing.T, dir, recipe string) []string {
	t.Helper()
	main := "daemon off;\npid " + dir + "/pid;\nerror_log stderr info;\n"
	if name, group := worker(t); name != "" {
		main += "user " + name + " " + group + ";\n"
	}
	main += "events { worker_connections 512; }\nhttp {\n\taccess_log " + dir + "/access.log;\n"
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += fmt.Sprintf("\t%s_temp_path %s/%s;\n", temp, dir, temp)
	}
	main += "\tgzip on;\n\tinclude " + write(t, filepath.Join(dir, "recipe.conf"), recipe) + ";\n}\n"
	return []string{"-p", dir, "-e", "stderr", "-c", write(t, filepath.Join(dir, "nginx.conf"), main)}
}

// apacheConfig writes what Debian's /etc/apache2/apache2.conf is to a recipe,
// with the modules that the recipe says are to be enabled, and no others but
// those that Debian enables by itself.
func apacheConfig(t *testing.T, dir, recipe string) []string {
	t.Helper()
	main := "ServerRoot " + dir + "\nServerName 127.0.0.1\nPidFile " + dir + "/pid\nDefaultRuntimeDir " + dir + "\nErrorLog /dev/stderr\nMutex file:" + dir + " default\n"
	modules := []string{"mpm_event", "env", "authn_core", "authz_core", "reqtimeout", "socache_shmcb", "deflate", "filter", "setenvif"}
	_, enable, ok := strings.Cut(recipe, "a2enmod ")
	if !ok {
		t.Fatal("the recipe does not say which modules it needs")
	}
	enable, _, _ = strings.Cut(enable, "\n")
	for _, m := range append(modules, strings.Fields(enable)...) {
		main += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
	}
	if os.Geteuid() == 0 {
		main += "User \"#65534\"\nGroup \"#65534\"\n"
	}
	main += "DocumentRoot " + publicDir(t) + "\nInclude " + write(t, filepath.Join(dir, "recipe.conf"), recipe) + "\n"
	return []string{"-DFOREGROUND", "-d", dir, "-f", write(t, filepath.Join(dir, "httpd.conf"), main)}
}

// caddyConfig adds what keeps Caddy to the machine.
func caddyConfig(t *testing.T, dir, recipe string) []string {
	t.Helper()
	global := "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\tpersist_config off\n}\n\n"
	return []string{"run", "--adapter", "caddyfile", "--config", write(t, filepath.Join(dir, "Caddyfile"), global+recipe)}
}
