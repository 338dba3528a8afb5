package config

import "time"

// Log is what the server writes to standard error.
type Log struct {
	// Level is the least important message that is logged: `debug`, `info`,
	// `warn` or `error`.
	Level LogLevel `yaml:"level"`

	// Format is the form of the lines: `text` or `json`.
	Format LogFormat `yaml:"format"`

	// Access says whether every request is logged when it is done.
	Access bool `yaml:"access"`

	// Fields is a map of names and values that are added to every line.
	Fields map[string]string `yaml:"fields"`
}

// Metrics is a listener for whoever looks after the registry: the numbers that
// Prometheus reads, `/healthz` and `/readyz` with reasons, `/debug/health`,
// `/debug/vars` and `/debug/pprof/`.
type Metrics struct {
	// Listen is the address of that listener, such as `127.0.0.1:5001`. Empty
	// turns it off. Whoever reaches it reads it without log-in, so its host must
	// be written: `0.0.0.0:5001` if every network shall reach it.
	Listen string `yaml:"listen"`

	// Path is where Prometheus finds the numbers on that listener.
	Path string `yaml:"path"`

	// Prometheus says whether that listener serves the numbers at all.
	Prometheus bool `yaml:"prometheus"`
}

// Notifications is telling others about what happens in the registry.
type Notifications struct {
	// IncludeReferences says whether the event of a manifest's push lists what
	// the manifest refers to.
	IncludeReferences bool `yaml:"include_references"`

	// Keep is how long events are kept: those that were delivered can be
	// replayed for so long, and those that could not be are given up after it.
	Keep time.Duration `yaml:"keep"`

	// Endpoints is the list of those who are told, by HTTP POST, in the form that
	// registry:2 has.
	Endpoints []Endpoint `yaml:"endpoints"`
}

// Endpoint is one who is told what happens.
type Endpoint struct {
	// Name is what the endpoint is called in logs, metrics and commands. It also
	// says how far the endpoint has been told: with another name it begins anew.
	Name string `yaml:"name"`

	// URL is the address that events are sent to.
	URL string `yaml:"url"`

	// Headers is a map of headers to send along, each with a list of values; they
	// take the place of those that Berth would send.
	Headers map[string][]string `yaml:"headers"`

	// Timeout is how long one delivery may take.
	Timeout time.Duration `yaml:"timeout" default:"5s"`

	// Threshold is after how many failures in a row there is a pause.
	Threshold int `yaml:"threshold" default:"10"`

	// Backoff is the length of that pause.
	Backoff time.Duration `yaml:"backoff" default:"1s"`

	// IgnoreMediaTypes is the list of media types of which nothing is told.
	IgnoreMediaTypes []string `yaml:"ignore_media_types"`

	// IgnoreActions is the list of actions of which nothing is told: `push`,
	// `pull`, `mount`, `delete`.
	IgnoreActions []string `yaml:"ignore_actions"`

	// Repositories is the list of patterns of the repositories of which it is
	// told, as in `access`. Empty means all.
	Repositories []string `yaml:"repositories"`

	// Secret is a file with a secret. With it every delivery is signed, in the
	// header `X-Berth-Signature-256`.
	Secret string `yaml:"secret"`
}

// Health is what is looked at to find out whether the registry can do its work.
// While any of these checks fails, `/readyz` and `/debug/health` answer 503. While
// a file, an address or the data directory itself is what fails, so is every other
// request, as with registry:2.
type Health struct {
	Storage StorageCheck `yaml:"storage"`

	// Files is the list of files that say, by being there, that the registry shall
	// not be used.
	Files []FileCheck `yaml:"files"`

	// HTTP is the list of addresses that must answer.
	HTTP []HTTPCheck `yaml:"http"`

	// TCP is the list of addresses that must accept connections.
	TCP []TCPCheck `yaml:"tcp"`
}

// StorageCheck is whether the data directory is there, and can be written to and
// read. While it is there and can't be written to, pulls go on.
type StorageCheck struct {
	// Enabled says whether it is looked at.
	Enabled bool `yaml:"enabled"`

	// Interval is the time between two looks.
	Interval time.Duration `yaml:"interval"`

	// Threshold is how many looks in a row must fail.
	Threshold int `yaml:"threshold"`
}

// FileCheck is one file that must not be there.
type FileCheck struct {
	// File is its path.
	File string `yaml:"file"`

	// Interval is the time between two looks.
	Interval time.Duration `yaml:"interval" default:"10s"`
}

// HTTPCheck is one address that must answer a HEAD request.
type HTTPCheck struct {
	// URL is the address.
	URL string `yaml:"url"`

	// Headers is a map of headers to send along, each with a list of values.
	Headers map[string][]string `yaml:"headers"`

	// Status is the status that the answer must have.
	Status int `yaml:"status" default:"200"`

	// Timeout is how long it may take.
	Timeout time.Duration `yaml:"timeout" default:"5s"`

	// Interval is the time between two requests.
	Interval time.Duration `yaml:"interval" default:"10s"`

	// Threshold is how many in a row must fail.
	Threshold int `yaml:"threshold" default:"1"`
}

// TCPCheck is one address that must accept a connection.
type TCPCheck struct {
	// Address is its `host:port`.
	Address string `yaml:"address"`

	// Timeout is how long it may take.
	Timeout time.Duration `yaml:"timeout" default:"5s"`

	// Interval is the time between two attempts.
	Interval time.Duration `yaml:"interval" default:"10s"`

	// Threshold is how many in a row must fail.
	Threshold int `yaml:"threshold" default:"1"`
}
