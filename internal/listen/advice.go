package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"strconv"
)

// An AddressError is why one address could not be listened on. Its text says
// what is wrong and what to do about it.
type AddressError struct {
	Address Address
	Err     error // what the operating system answered
	advice  string
}

func (e *AddressError) Error() string { return e.advice }

// Unwrap returns what the operating system answered.
func (e *AddressError) Unwrap() error { return e.Err }

// explain words err, which came of listening on a, for the person who chose a.
func explain(a Address, setting string, err error) error {
	var advice string
	switch {
	case a.Network == "unix":
		advice = explainUnix(a, err)
	case isAddressInUse(err):
		advice = fmt.Sprintf("%s is already in use by another program. %s%s",
			a.Host, whoHolds(a.Host), chooseAnother(a.Host, setting, "5001"))
	case errors.Is(err, fs.ErrPermission) || isAccessDenied(err):
		advice = explainDenied(a, setting, err)
	case isMissingAddress(err):
		advice = fmt.Sprintf("%s is not an address of this machine. `ip addr` (Linux), `ifconfig` (macOS) or `ipconfig` (Windows) "+
			"lists those it has. To listen on all of them, %s", a.Host, example(":"+portOf(a.Host), setting))
	default:
		advice = fmt.Sprintf("listen on %s: %v. Use the form 127.0.0.1:5000, [::1]:5000, or :5000 for all addresses of this machine", a.Host, err)
	}
	return &AddressError{Address: a, Err: err, advice: advice}
}

func explainUnix(a Address, err error) string {
	switch {
	case errors.Is(err, ErrSocketInUse):
		return fmt.Sprintf("somebody already answers on the socket %s: stop that process first", a.Host)
	case errors.Is(err, ErrSocketPathTooLong):
		return fmt.Sprintf("the path of the socket %s has %d bytes; this system allows %d. Use a directory with a shorter path",
			a.Host, len(a.Host), maxSocketPath())
	case errors.Is(err, errNotASocket):
		return fmt.Sprintf("%s exists and is not a socket; it is left alone. Move it away or choose another path", a.Host)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the directory for the socket %s does not exist: make it first", a.Host)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("no permission to make the socket %s: the user that runs this program must be able to write to its directory", a.Host)
	default:
		return fmt.Sprintf("listen on the socket %s: %v", a.Host, err)
	}
}

func explainDenied(a Address, setting string, err error) string {
	port, _ := strconv.Atoi(portOf(a.Host))
	if port == 0 || port >= 1024 {
		return fmt.Sprintf("no permission to listen on %s: %v. A security policy of this machine forbids it.%s",
			a.Host, err, chooseAnother(a.Host, setting, "5001"))
	}
	return fmt.Sprintf("no permission to listen on %s: ports below 1024 are reserved. On Linux allow it with "+
		"`setcap cap_net_bind_service=+ep` on the program's file, or with AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit.%s",
		a.Host, chooseAnother(a.Host, setting, "5000"))
}

// whoHolds says how to find the program that holds the port of host.
func whoHolds(host string) string {
	port := portOf(host)
	switch runtime.GOOS {
	case "windows":
		return fmt.Sprintf("`netstat -ano | findstr :%s` shows the number of its process.", port)
	case "darwin":
		s := fmt.Sprintf("`sudo lsof -nP -iTCP:%s -sTCP:LISTEN` shows it.", port)
		if port == "5000" {
			s += " On macOS it is often AirPlay Receiver, which is switched off in System Settings, General, AirDrop & Handoff."
		}
		return s
	default:
		return fmt.Sprintf("`ss -ltnp 'sport = :%s'` or `lsof -i :%s`, run as root, shows which.", port, port)
	}
}

// chooseAnother proposes host with another port, and one more if that is the
// port that didn't work.
func chooseAnother(host, setting, port string) string {
	name, old, err := net.SplitHostPort(host)
	if err != nil {
		return ""
	}
	if old == port {
		port = "5002"
	}
	return " To use another port, " + example(net.JoinHostPort(name, port), setting)
}

func example(host, setting string) string {
	if setting == "" {
		setting = "the address"
	}
	return "set " + setting + " to " + host
}

func portOf(host string) string {
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return ""
	}
	return port
}
