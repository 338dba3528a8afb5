package distapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/oci"
)

// login returns the header with which somebody of the bench logs in.
func login(user string) http.Header {
	if user == "" {
		return http.Header{}
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, somebody()[user])
	return r.Header
}

// TestSameAnswer is row A5 of docs/security.md: who may not pull from a
// repository gets, to the byte, the answer that they got when it was not there.
func TestSameAnswer(t *testing.T) {
	content := "secret content"
	d := oci.SHA256.FromBytes([]byte(content)).String()
	m := oci.SHA256.FromBytes([]byte(emptyIndex)).String()
	naming := fmt.Sprintf(`{"schemaVersion":2,"layers":[{"mediaType":"a/b","digest":%q,"size":%d}]}`, d, len(content))
	type request struct{ method, target, body string }
	requests := []request{
		{"GET", "/v2/_catalog", ""},
		{"POST", "/v2/secret/blobs/uploads/", ""},
		{"POST", "/v2/secret/blobs/uploads/?digest=" + d, content},
		{"POST", "/v2/secret/blobs/uploads/?mount=" + d + "&from=carol", ""},
		{"PATCH", "/v2/secret/blobs/uploads/upload-1", "x"},
		{"PUT", "/v2/secret/blobs/uploads/upload-1?digest=" + d, content},
		{"PUT", "/v2/secret/manifests/v1", emptyIndex},
		// With what they know of it, in a repository of their own.
		{"GET", "/v2/carol/blobs/" + d, ""},
		{"HEAD", "/v2/carol/blobs/" + d, ""},
		{"GET", "/v2/carol/manifests/" + m, ""},
		{"GET", "/v2/carol/referrers/" + m, ""},
		{"DELETE", "/v2/carol/blobs/" + d, ""},
		{"DELETE", "/v2/carol/manifests/" + m, ""},
		{"PUT", "/v2/carol/manifests/x", naming},
		{"POST", "/v2/carol/blobs/uploads/?mount=" + d + "&from=secret", ""},
		{"POST", "/v2/carol/blobs/uploads/?mount=" + d, ""},
	}
	for _, p := range []string{"manifests/v1", "manifests/" + m, "blobs/" + d, "tags/list", "tags/list?n=0", "referrers/" + m, "blobs/uploads/upload-1"} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			requests = append(requests, request{method, "/v2/secret/" + p, ""})
		}
	}
	random := regexp.MustCompile(`upload-\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[A-Z2-7]{26}`)
	for over, bench := range map[string]func(testing.TB, string) *bench{"fake": newBench, "core": newCoreBench} {
		for _, user := range []string{"carol", ""} {
			t.Run(over+"/"+user, func(t *testing.T) {
				b := bench(t, "basic")
				answers := func() (list []string) {
					for _, q := range requests {
						resp, body := b.send(t, q.method, q.target, login(user), strings.NewReader(q.body))
						resp.Header.Del("Date")
						text := fmt.Sprintf("%s %s: %d %v %s", q.method, q.target, resp.StatusCode, resp.Header, body)
						list = append(list, random.ReplaceAllString(text, "RANDOM"))
					}
					return list
				}
				b.send(t, "PUT", "/v2/carol/manifests/own", login("carol"), strings.NewReader(naming))
				answers() // the first ones change what is carol's
				before := answers()
				for _, q := range [][3]string{{"POST", "/v2/secret/blobs/uploads/?digest=" + d, content}, {"PUT", "/v2/secret/manifests/v1", emptyIndex}} {
					if resp, body := b.send(t, q[0], q[1], login("alice"), strings.NewReader(q[2])); resp.StatusCode != 201 {
						t.Fatalf("%s: got %d %s, want 201", q[1], resp.StatusCode, body)
					}
				}
				for i, after := range answers() {
					if after != before[i] {
						t.Errorf("got  %s\nwant %s", after, before[i])
					}
				}
			})
		}
	}
}

// TestCacheHeaders is row E7: what caches in front may keep, by kind of answer.
func TestCacheHeaders(t *testing.T) {
	d, m := oci.SHA256.FromBytes([]byte("hello")).String(), oci.SHA256.FromBytes([]byte(emptyIndex)).String()
	const forever = "max-age=31536000, immutable"
	tests := []struct {
		method, target, header string
		status                 int
		want                   string // of Cache-Control; "digest" is that of content by digest
	}{
		{"GET", "/v2/", "", 200, "no-store"},
		{"GET", "/v2/app/manifests/v1", "", 200, "no-cache"},
		{"HEAD", "/v2/app/manifests/v1", "", 200, "no-cache"},
		{"GET", "/v2/app/manifests/v1", "If-None-Match: " + m, 304, "no-cache"},
		{"GET", "/v2/app/manifests/" + m, "", 200, "digest"},
		{"HEAD", "/v2/app/manifests/" + m, "", 200, "digest"},
		{"GET", "/v2/app/blobs/" + d, "", 200, "digest"},
		{"HEAD", "/v2/app/blobs/" + d, "", 200, "digest"},
		{"GET", "/v2/app/blobs/" + d, "Range: bytes=1-2", 206, "digest"},
		{"GET", "/v2/app/blobs/" + d, "If-None-Match: " + d, 304, "digest"},
		{"GET", "/v2/app/blobs/" + d, "Range: bytes=9-", 416, "no-store"},
		{"GET", "/v2/app/blobs/" + d, "If-Match: x", 412, "no-store"},
		{"GET", "/v2/app/tags/list", "", 200, "no-cache"},
		{"GET", "/v2/_catalog", "", 200, "no-cache"},
		{"GET", "/v2/app/referrers/" + m, "", 200, "no-cache"},
		{"GET", "/v2/app/manifests/none", "", 404, "no-store"},
		{"GET", "/v2/app/manifests/" + d, "", 404, "no-store"},
		{"GET", "/v2/app/blobs/" + m, "", 404, "no-store"},
		{"GET", "/v2/none/tags/list", "", 404, "no-store"},
		{"GET", "/v2/app/manifests/.x", "", 400, "no-store"},
		{"GET", "/v2/nonsense", "", 404, "no-store"},
		{"POST", "/v2/", "", 405, "no-store"},
		{"GET", "/v2/", "Sec-Fetch-Site: cross-site", 403, "no-store"},
		{"GET", "/v2/app/manifests/v1", "Content-Encoding: gzip", 415, "no-store"},
		{"POST", "/v2/app/blobs/uploads/", "", 202, "no-store"},
		{"DELETE", "/v2/app/manifests/v1", "", 202, "no-store"},
	}
	for mode, byDigest := range map[string]string{"open": forever, "basic": "private, " + forever, "anonymous": "private, " + forever} {
		b := newCoreBench(t, mode)
		b.send(t, "POST", "/v2/app/blobs/uploads/?digest="+d, login("alice"), strings.NewReader("hello"))
		b.send(t, "PUT", "/v2/app/manifests/v1", login("alice"), strings.NewReader(emptyIndex))
		check := func(method, target string, header http.Header, status int, want string) {
			t.Helper()
			resp, body := b.send(t, method, target, header, nil)
			if got := resp.Header.Get("Cache-Control"); resp.StatusCode != status || got != want || resp.Header.Get("Vary") != "Authorization, Accept" {
				t.Errorf("%s: %s %s: got %d %s, %q, Vary %q; want %d, %q", mode, method, target, resp.StatusCode, body, got, resp.Header.Get("Vary"), status, want)
			}
		}
		for _, tt := range tests {
			header := login("alice")
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				header.Set(name, value)
			}
			check(tt.method, tt.target, header, tt.status, strings.ReplaceAll(tt.want, "digest", byDigest))
		}
		if mode != "open" {
			check("GET", "/v2/", nil, 401, "no-store")
			check("POST", "/v2/app/blobs/uploads/", nil, 401, "no-store")
			check("POST", "/v2/app/blobs/uploads/", login("bob"), 403, "no-store")
			check("GET", "/v2/", http.Header{"Authorization": {"Basic " + "dGhyb3R0bGVkOng="}}, 429, "no-store")
		}
		if mode == "anonymous" {
			check("GET", "/v2/token", nil, 200, "no-store")
		}
	}
}

// TestQueriesAreText is row E20: what stands in a query is compared as it is,
// and neither a pattern nor a statement.
func TestQueriesAreText(t *testing.T) {
	b := newCoreBench(t, "open")
	put := func(repo, ref, body string) {
		t.Helper()
		if resp, text := b.send(t, "PUT", "/v2/"+repo+"/manifests/"+ref, nil, strings.NewReader(body)); resp.StatusCode != 201 {
			t.Fatalf("%s %s: got %d %s", repo, ref, resp.StatusCode, text)
		}
	}
	repos, tags := []string{"a", "a-b", "a.b", "a/b", "a_b", "axb", "b"}, []string{"A", "_", "v-1", "v.1", "v1", "v_1", "vx1"}
	for _, r := range repos {
		put(r, "x", emptyIndex)
	}
	for _, tag := range tags {
		put("list/ed", tag, emptyIndex)
	}
	repos = append(repos, "list/ed")
	subject := oci.SHA256.FromBytes([]byte("subject")).String()
	put("list/ed", "_", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x-one","manifests":[],"subject":{"mediaType":"a/b","digest":%q,"size":7}}`, oci.MediaTypeIndex, subject))

	hostile := []string{"'", `"`, "`", "%", "_", "a%", "a_b", "v_1", `\`, "\x00", "a\x00", "v1\x00", "' OR '1'='1", "x'; DROP TABLE tags; --", "a' UNION SELECT 1 --", "--", "/*", "é", "\xff", "\U0010ffff", "[a-z]*", "*", "?", "$1", ":a", "@a", "?1", "1e1000", strings.Repeat("z", 2000)}
	behind := func(list []string, last string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s <= last })
	}
	slices.Sort(repos)
	for _, h := range hostile {
		q := "?n=100&last=" + url.QueryEscape(h)
		var got struct {
			Repositories, Tags []string
			Manifests          []struct{ ArtifactType string }
		}
		for target, want := range map[string][]string{"/v2/_catalog" + q: behind(repos, h), "/v2/list/ed/tags/list" + q: behind(tags, h)} {
			resp, body := b.send(t, "GET", target, nil, nil)
			got.Repositories, got.Tags = nil, nil
			if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 || !slices.Equal(append(got.Repositories, got.Tags...), want) {
				t.Errorf("%s: got %d %s, want %q", target, resp.StatusCode, body, want)
			}
		}
		target := "/v2/list/ed/referrers/" + subject + "?artifactType=" + url.QueryEscape(h)
		resp, body := b.send(t, "GET", target, nil, nil)
		got.Manifests = nil
		if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 && resp.StatusCode != 400 || len(got.Manifests) != 0 {
			t.Errorf("%.200s: got %d %s, want no referrers, or that this is no media type", target, resp.StatusCode, body)
		}
	}
	for _, target := range []string{"?artifactType=application/x-one", ""} {
		if _, body := b.send(t, "GET", "/v2/list/ed/referrers/"+subject+target, nil, nil); !strings.Contains(string(body), "application/x-one") {
			t.Errorf("got %s, and so the rest shows nothing", body)
		}
	}
}
