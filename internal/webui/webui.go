// Package webui holds what a person with a browser sees: for now the page at
// "/", which says what this is and what to type.
//
// The page is the same for everybody and is shown without log-in, so it tells
// nothing about the registry: not what is in it, not who may use it, and not
// which version it is. The package knows nothing of storage.
package webui

import (
	"bytes"
	"embed"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
)

//go:embed assets
var assets embed.FS

// home is the page at "/". Its template escapes what comes from the request.
var home = template.Must(template.ParseFS(assets, "assets/home.html"))

// Options say what the page shows.
type Options struct {
	// Host is how clients are to call the registry, host or host:port, as in
	// external_url. Empty: whatever the browser called it.
	Host string

	// LogIn makes the page show docker login first.
	LogIn bool
}

// Home returns the handler of "/" and of what the page there needs. Everything
// else is 404.
func Home(o Options) http.Handler { return &handler{opts: o} }

type handler struct {
	opts Options
}

// ServeHTTP serves one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	var serve func(http.ResponseWriter, *http.Request)
	switch r.URL.Path {
	case "/":
		serve = h.page
	case "/berth.css":
		serve = asset("assets/berth.css", "text/css; charset=utf-8")
	case "/favicon.ico":
		serve = asset("assets/icon.svg", "image/svg+xml")
	default:
		refuse(w, http.StatusNotFound, "There is nothing here. The page is at /, the registry at /v2/.")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Only GET and HEAD work here.")
		return
	}
	serve(w, r)
}

// secure sets the headers that every answer has, whatever it is.
func secure(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Browsers apply this to every port of the host, so it is only sent where the
	// host is ours: on the port that https means.
	if _, port, err := net.SplitHostPort(r.Host); r.TLS != nil && (err != nil || port == "443") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// refuse answers with a line of text.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

// asset returns a function that serves one embedded file.
func asset(name, contentType string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		b, err := assets.ReadFile(name)
		if err != nil {
			refuse(w, http.StatusNotFound, "There is no such file.")
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		send(w, contentType, b)
	}
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	host := h.opts.Host
	if host == "" {
		host = r.Host
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	var b bytes.Buffer
	err := home.Execute(&b, struct {
		Host  string
		LogIn bool
	}{imageHost(host, scheme), h.opts.LogIn})
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The page could not be made.")
		return
	}
	w.Header().Set("Cache-Control", "no-store") // it depends on the Host header
	send(w, "text/html; charset=utf-8", b.Bytes())
}

func send(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}

// imageHost turns the host that a browser asked for into what an image name
// begins with. docker takes the first part of a name for a registry only if it
// holds a dot or a colon or is localhost, so a short name gets its port. What
// cannot be a host at all becomes an example.
func imageHost(host, scheme string) string {
	const example = "registry.example:5000"
	port := map[string]string{"http": "80", "https": "443"}[scheme]
	host = strings.ToLower(host)
	name, given, err := net.SplitHostPort(host)
	if err != nil {
		name, given = strings.Trim(host, "[]"), ""
	}
	ip := net.ParseIP(name)
	switch {
	case name == "" || len(name) > 253 || strings.Trim(given, "0123456789") != "" || len(given) > 5:
		return example
	case ip == nil && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
		return example
	case given == port:
		given = ""
	}
	if given == "" && ip == nil && name != "localhost" && !strings.Contains(name, ".") {
		given = port
	}
	if ip != nil && strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if given != "" {
		name += ":" + given
	}
	return name
}
