package security

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// TestUploadOfAnother is row A6: an upload session is its beginner's, in its
// repository, and for everybody else there is none.
func TestUploadOfAnother(t *testing.T) {
	reg, _ := withUsers(t)
	content := []byte("hers")
	begun := want(t, reg, 202, "POST", "/v2/app/blobs/uploads/", nil, as(ada))
	location := begun.header.Get("Location")
	elsewhere := strings.Replace(location, "/v2/app/", "/v2/other/", 1)
	want(t, reg, 202, "PATCH", location, content[:2], as(ada))
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		query := ""
		if method == "PUT" {
			query = "?digest=" + digestOf(content)
		}
		want(t, reg, 404, method, location+query, nil, as(grace))
		want(t, reg, 404, method, elsewhere+query, nil, as(ada))
		want(t, reg, 401, method, location+query, nil)
	}
	want(t, reg, 204, "GET", location, nil, as(ada))
	want(t, reg, 201, "PUT", location+"?digest="+digestOf(content), content[2:], as(ada))
}

// TestRemovedUser is row A7: who is taken out of the password file is out
// within seconds, with the password, with a token that is still good for
// minutes, and with an upload that has begun.
func TestRemovedUser(t *testing.T) {
	reg, file := withUsers(t, "--anonymous", "pull")
	bearer := "Authorization: Bearer " + tokenOf(t, reg, grace, "app")
	adas := "Authorization: Bearer " + tokenOf(t, reg, ada, "app")
	begin := func(header string) int {
		t.Helper()
		return ask(t, reg, "POST", "/v2/app/blobs/uploads/", nil, header).status
	}
	for _, header := range []string{as(grace), bearer, adas} {
		if got := begin(header); got != 202 {
			t.Fatalf("before: got %d, want 202", got)
		}
	}
	location := want(t, reg, 202, "POST", "/v2/app/blobs/uploads/", nil, bearer).header.Get("Location")
	writeUsers(t, file, ada)
	soon(t, "the password is void", func() bool { return begin(as(grace)) == 401 })
	soon(t, "the token is void", func() bool { return begin(bearer) == 401 })
	want(t, reg, 401, "PATCH", location, []byte("x"), bearer)
	for _, header := range []string{as(ada), adas} {
		if got := begin(header); got != 202 {
			t.Errorf("who was not removed: got %d, want 202", got)
		}
	}
}

// soon waits for something to become so within five seconds.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 50 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("after five seconds it is still not so that %s", what)
}

// TestOneConnection is row A14: requests that come on one connection without
// waiting for each other have the rights of their own headers and no others.
func TestOneConnection(t *testing.T) {
	reg, _ := withUsers(t)
	request := func(line, authorization string) string {
		text := line + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
		if authorization != "" {
			text += "Authorization: " + authorization + "\r\n"
		}
		return text + "\r\n"
	}
	const begin = "POST /v2/app/blobs/uploads/"
	got := converse(t, reg, strings.Join([]string{
		request("GET /v2/", basic(ada)),
		request("GET /v2/", ""),
		request(begin, basic(ada)),
		request(begin, ""),
		request(begin, basic("ada:wrong")),
		request("GET /v2/_catalog", ""),
		request("GET /v2/_catalog", basic(grace)),
		request("GET /v2/_catalog", ""),
	}, ""))
	if want := []int{200, 401, 202, 401, 401, 401, 200, 401, 200}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestNoUsers is row A15: a registry that was told to want a log-in, and has
// nobody who could, does not start, and says why.
func TestNoUsers(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "comments": "# nobody\n", "clear text": "admin:admin\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"missing", "empty", "comments", "clear text"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			reg := realtest.Start(t, realtest.Options{Args: []string{"--htpasswd", file}, Unready: true})
			if err := reg.Wait(); err == nil {
				t.Error("it ended well")
			}
			if !reg.Log.Contains(file) {
				t.Errorf("the message does not name the file: %s", reg.Log)
			}
		})
	}
}

// TestLogTellsNoSecrets is row B7: whatever way credentials come, right or
// wrong, they are not in the log, though it tells everything it can.
func TestLogTellsNoSecrets(t *testing.T) {
	reg, file := withUsers(t, "--anonymous", "pull", "--log-level", "debug")
	_, password, _ := strings.Cut(ada, ":")
	const typo, other = "a-typo-of-hers", "s3cr3t-elsewhere"
	form := "Content-Type: application/x-www-form-urlencoded"
	token := tokenOf(t, reg, ada, "app")
	push(t, reg, "app", "v1", []byte("x"), as(ada))
	want(t, reg, 202, "POST", "/v2/app/blobs/uploads/?_state="+other, nil, "Authorization: Bearer "+token)
	for _, a := range []answer{
		ask(t, reg, "GET", "/v2/", nil, as("ada:"+typo)),
		ask(t, reg, "GET", "/v2/", nil, as(typo+":")),
		ask(t, reg, "GET", "/v2/", nil, "Authorization: "+typo),
		ask(t, reg, "GET", "/v2/", nil, "Authorization: Bearer "+token+typo),
		ask(t, reg, "GET", "/v2/", nil, as(ada), as("ada:"+typo)),
		ask(t, reg, "GET", "/v2/token?username=ada&password="+typo, nil),
		ask(t, reg, "GET", "/v2/token?refresh_token="+token, nil),
		ask(t, reg, "POST", "/v2/token", []byte("grant_type=password&username=ada&password="+typo), form),
		ask(t, reg, "POST", "/v2/token", []byte("grant_type=refresh_token&refresh_token="+other), form),
		ask(t, reg, "GET", "/v2/app/nonsense?token="+token+"&X-Amz-Signature="+other, nil),
	} {
		if a.status < 400 {
			t.Errorf("got %d %s, want a refusal", a.status, a.body)
		}
		for _, secret := range []string{typo, token, other} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("the answer repeats %q: %s", secret, a.body)
			}
		}
	}
	ask(t, reg, "GET", "/v2/app/tags/list", nil, "Cookie: session="+other, "Proxy-Authorization: Basic "+other, "X-Registry-Auth: "+other, "Referer: http://x/?token="+other)
	writeUsers(t, file, ada, "eve:"+other) // which makes it tell about the file
	soon(t, "the new user is in", func() bool { return ask(t, reg, "GET", "/v2/", nil, as("eve:"+other)).status == 200 })
	if !reg.Log.Has("GET", "/v2/app/tags/list", 200) || !reg.Log.Has("GET", "/v2/app/nonsense", 404) {
		t.Error("the log has no requests, so this shows nothing")
	}
	for name, secret := range map[string]string{
		"the password": password, "a wrong password": typo, "another secret": other, "the token": token, "a part of the token": token[len(token)-40:],
		"the header": basic(ada), "the wrong header": basic("ada:" + typo), "the hash": hashOf(password),
		"the base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(ada)), "="),
	} {
		if reg.Log.Contains(secret) {
			t.Errorf("the log holds %s, %q", name, secret)
		}
	}
}

// TestDeletingOff is row A1: with deleting off, nothing is deleted by any
// address.
func TestDeletingOff(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: []string{"BERTH_DELETE_ENABLED=false"}})
	content := []byte("stays")
	manifest := push(t, reg, "app", "v1", content)
	paths := []string{"manifests/v1", "manifests/" + digestOf(manifest), "blobs/" + digestOf(content)}
	for _, p := range paths {
		a := want(t, reg, 405, "DELETE", "/v2/app/"+p, nil)
		if !strings.Contains(string(a.body), `"UNSUPPORTED"`) || a.header.Get("Allow") == "" {
			t.Errorf("%s: got %s with Allow %q", p, a.body, a.header.Get("Allow"))
		}
	}
	for _, p := range paths {
		want(t, reg, 200, "GET", "/v2/app/"+p, nil)
	}
}
