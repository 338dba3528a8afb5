package route

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"berth/internal/oci"
)

const (
	hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	d256  = "sha256:" + hex64
	d512  = "sha512:" + hex64 + hex64
)

func repo(s string) oci.Repo {
	r, err := oci.ParseRepo(s)
	if err != nil {
		panic(err)
	}
	return r
}

func digest(s string) oci.Digest {
	d, err := oci.ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

func ref(s string) oci.Ref {
	r, err := oci.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return r
}

func whole() Page { return Page{N: Whole} }

func TestParse(t *testing.T) {
	tests := []struct {
		method, target string
		want           Route
	}{
		{"GET", "/v2/", Route{Kind: Ping}},
		{"GET", "/v2", Route{Kind: Ping}},
		{"HEAD", "/v2/", Route{Kind: Ping}},
		{"GET", "/v2/?x=y", Route{Kind: Ping}},
		{"GET", "/v2/token?scope=repository:a:pull&service=berth", Route{Kind: TokenGet}},
		{"POST", "/v2/token", Route{Kind: TokenPost}},
		{"GET", "/v2/_catalog", Route{Kind: Catalog, Page: whole()}},
		{"GET", "/v2/_catalog?n=5&last=a/b", Route{Kind: Catalog, Page: Page{5, "a/b"}}},
		{"GET", "/v2/a/b/tags/list?n=2&last=v1", Route{Kind: Tags, Repo: repo("a/b"), Page: Page{2, "v1"}}},
		{"GET", "/v2/a/tags/list?n=0", Route{Kind: Tags, Repo: repo("a"), Page: Page{0, ""}}},
		{"GET", "/v2/a/tags/list?n=007", Route{Kind: Tags, Repo: repo("a"), Page: Page{7, ""}}},
		{"GET", "/v2/a/tags/list?n=99999999999999999999", Route{Kind: Tags, Repo: repo("a"), Page: Page{maxN, ""}}},
		{"GET", "/v2/a/tags/list?last=%0d%0a..%2f%ff", Route{Kind: Tags, Repo: repo("a"), Page: Page{Whole, "\r\n../\xff"}}},
		{"GET", "/v2/a/referrers/" + d256, Route{Kind: Referrers, Repo: repo("a"), Digest: digest(d256), Page: whole()}},
		{"GET", "/v2/a/referrers/" + d512 + "?artifactType=a/b%2Bc&n=3", Route{Kind: Referrers, Repo: repo("a"), Digest: digest(d512), ArtifactType: "a/b+c", Page: Page{N: 3}}},
		{"GET", "/v2/a/referrers/" + d256 + "?artifactType=", Route{Kind: Referrers, Repo: repo("a"), Digest: digest(d256), Page: whole()}},
		{"GET", "/v2/a/manifests/latest", Route{Kind: ManifestGet, Repo: repo("a"), Ref: ref("latest")}},
		{"GET", "/v2/a/manifests/latest?ns=docker.io", Route{Kind: ManifestGet, Repo: repo("a"), Ref: ref("latest")}},
		{"HEAD", "/v2/a/manifests/" + d256, Route{Kind: ManifestGet, Repo: repo("a"), Ref: ref(d256)}},
		{"GET", "/v2/a/manifests/sha256%3A" + hex64, Route{Kind: ManifestGet, Repo: repo("a"), Ref: ref(d256)}},
		{"GET", "/v2/a/blobs/sha256%3a" + hex64, Route{Kind: BlobGet, Repo: repo("a"), Digest: digest(d256)}},
		{"PUT", "/v2/a/manifests/" + d256 + "?tag=x&tag=Y&tag=x", Route{Kind: ManifestPut, Repo: repo("a"), Ref: ref(d256), tags: "x,Y"}},
		{"PUT", "/v2/manifests/manifests/manifests", Route{Kind: ManifestPut, Repo: repo("manifests"), Ref: ref("manifests")}},
		{"DELETE", "/v2/a/manifests/v1", Route{Kind: ManifestDelete, Repo: repo("a"), Ref: ref("v1")}},
		{"GET", "/v2/a/blobs/" + d256, Route{Kind: BlobGet, Repo: repo("a"), Digest: digest(d256)}},
		{"DELETE", "/v2/a/blobs/" + d256, Route{Kind: BlobDelete, Repo: repo("a"), Digest: digest(d256)}},
		{"POST", "/v2/a/blobs/uploads/", Route{Kind: UploadStart, Repo: repo("a")}},
		{"POST", "/v2/a/blobs/uploads", Route{Kind: UploadStart, Repo: repo("a")}},
		{"POST", "/v2/a/blobs/uploads/?digest=" + d512, Route{Kind: UploadStart, Repo: repo("a"), Digest: digest(d512)}},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", Route{Kind: UploadStart, Repo: repo("a"), Algorithm: oci.SHA512}},
		{"POST", "/v2/a/blobs/uploads/?mount=" + d256 + "&from=b/c", Route{Kind: UploadStart, Repo: repo("a"), Mount: digest(d256), From: repo("b/c")}},
		{"POST", "/v2/a/blobs/uploads/?mount=" + d256, Route{Kind: UploadStart, Repo: repo("a"), Mount: digest(d256)}},
		{"POST", "/v2/a/blobs/uploads/?from=b", Route{Kind: UploadStart, Repo: repo("a")}},
		{"PATCH", "/v2/a/blobs/uploads/Ab-1_2", Route{Kind: UploadAppend, Repo: repo("a"), Upload: "Ab-1_2"}},
		{"GET", "/v2/a/blobs/uploads/u", Route{Kind: UploadStatus, Repo: repo("a"), Upload: "u"}},
		{"HEAD", "/v2/a/blobs/uploads/u", Route{Kind: UploadStatus, Repo: repo("a"), Upload: "u"}},
		{"DELETE", "/v2/a/blobs/uploads/u", Route{Kind: UploadCancel, Repo: repo("a"), Upload: "u"}},
		{"PUT", "/v2/a/blobs/uploads/u?digest=" + d256, Route{Kind: UploadFinish, Repo: repo("a"), Upload: "u", Digest: digest(d256)}},

		// Repositories that are called like parts of the grammar.
		{"GET", "/v2/a/blobs/uploads/manifests/x", Route{Kind: ManifestGet, Repo: repo("a/blobs/uploads"), Ref: ref("x")}},
		{"GET", "/v2/a/blobs/uploads/tags/list", Route{Kind: Tags, Repo: repo("a/blobs/uploads"), Page: whole()}},
		{"GET", "/v2/tags/list/tags/list", Route{Kind: Tags, Repo: repo("tags/list"), Page: whole()}},
		{"POST", "/v2/blobs/uploads/blobs/uploads/", Route{Kind: UploadStart, Repo: repo("blobs/uploads")}},
		{"GET", "/v2/blobs/uploads/blobs/uploads/u", Route{Kind: UploadStatus, Repo: repo("blobs/uploads"), Upload: "u"}},
		{"GET", "/v2/token/manifests/token", Route{Kind: ManifestGet, Repo: repo("token"), Ref: ref("token")}},
		{"GET", "/v2/v2/manifests/_catalog", Route{Kind: ManifestGet, Repo: repo("v2"), Ref: ref("_catalog")}},
		{"GET", "/v2/referrers/referrers/" + d256, Route{Kind: Referrers, Repo: repo("referrers"), Digest: digest(d256), Page: whole()}},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			got, err := parse(t, tt.method, tt.target)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			checkRoundTrip(t, got)
		})
	}
}

func parse(t testing.TB, method, target string) (Route, error) {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(method, u)
}

func checkRoundTrip(t testing.TB, rt Route) {
	t.Helper()
	if again, err := Parse(rt.Method(), rt.URL()); err != nil || again != rt {
		t.Errorf("%s %s: got %+v, %v\nwant %+v", rt.Method(), rt.URL(), again, err, rt)
	}
	if again, err := parse(t, rt.Method(), rt.String()); err != nil || again != rt {
		t.Errorf("%s %s: got %+v, %v\nwant %+v", rt.Method(), rt, again, err, rt)
	}
}

func TestParseRefuses(t *testing.T) {
	const notFound, badRequest = 404, 400
	tests := []struct {
		method, target string
		code           oci.Code // of an *oci.Error, or
		status         int      // of a *RequestError
	}{
		{"GET", "/", "", notFound},
		{"GET", "/v1/", "", notFound},
		{"GET", "/v2x", "", notFound},
		{"GET", "/v2//", "", notFound},
		{"GET", "//v2/", "", notFound},
		{"GET", "/v2/a", "", notFound},
		{"GET", "/v2/a/b", "", notFound},
		{"GET", "/v2/a/b/c", "", notFound},
		{"GET", "/v2/token/", "", notFound},
		{"GET", "/v2/_catalog/", "", notFound},
		{"GET", "/v2/a/tags/", "", notFound},
		{"GET", "/v2/a/tags/list/", "", notFound},
		{"GET", "/v2/a/tags/other", "", notFound},
		{"GET", "/v2/a/uploads/x", "", notFound},
		{"POST", "/v2/a/uploads/", "", notFound},
		{"GET", "/v2/a/manifests%2Flatest", "", notFound},
		{"GET", "/v2/../v2/", "", notFound},

		{"GET", "/v2//manifests/x", oci.NameInvalid, 0},
		{"GET", "/v2/manifests/x", oci.NameInvalid, 0},
		{"POST", "/v2/blobs/uploads/", oci.NameInvalid, 0},
		{"GET", "/v2/UPPER/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/a//b/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/a/../b/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/a%2fb/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/%61/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/a%3Ab/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/a;b/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/%22%2f/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/" + strings.Repeat("a", 256) + "/tags/list", oci.NameInvalid, 0},
		{"GET", "/v2/evil.example:443/tags/list", oci.NameInvalid, 0},

		{"GET", "/v2/a/manifests/", oci.TagInvalid, 0},
		{"GET", "/v2/a/manifests/.x", oci.TagInvalid, 0},
		{"GET", "/v2/a/manifests/..%2f..%2fetc", oci.TagInvalid, 0},
		{"GET", "/v2/a/manifests/%3cscript%3e", oci.TagInvalid, 0},
		{"GET", "/v2/a/manifests/" + strings.Repeat("t", 129), oci.TagInvalid, 0},
		{"GET", "/v2/a/manifests/sha256:baddigeststring", oci.DigestInvalid, 0},
		{"GET", "/v2/a/manifests/" + strings.ToUpper(d256), oci.DigestInvalid, 0},
		{"GET", "/v2/a/manifests/sha256%253A" + hex64, oci.TagInvalid, 0},
		{"GET", "/v2/a/blobs/sha256:short", oci.DigestInvalid, 0},
		{"GET", "/v2/a/blobs/", oci.DigestInvalid, 0},
		{"GET", "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", oci.DigestInvalid, 0},
		{"GET", "/v2/a/blobs/uploads", oci.DigestInvalid, 0},
		{"GET", "/v2/a/blobs/" + d256 + "%20", oci.DigestInvalid, 0},
		{"GET", "/v2/a/referrers/x", oci.DigestInvalid, 0},
		{"GET", "/v2/a/referrers/latest", oci.DigestInvalid, 0},

		{"GET", "/v2/a/blobs/uploads/..", oci.BlobUploadUnknown, 0},
		{"GET", "/v2/a/blobs/uploads/%7Bid%7D", oci.BlobUploadUnknown, 0},
		{"PATCH", "/v2/a/blobs/uploads/" + strings.Repeat("x", 129), oci.BlobUploadUnknown, 0},
		{"PUT", "/v2/a/blobs/uploads/u", oci.DigestInvalid, 0},
		{"PUT", "/v2/a/blobs/uploads/u?digest=", oci.DigestInvalid, 0},
		{"PUT", "/v2/a/blobs/uploads/u?digest=sha256:x", oci.DigestInvalid, 0},
		{"PUT", "/v2/a/blobs/uploads/u?digest=" + d256 + "&digest=" + d512, "", badRequest},
		{"POST", "/v2/a/blobs/uploads/?digest=", oci.DigestInvalid, 0},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", oci.DigestInvalid, 0},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=", oci.DigestInvalid, 0},
		{"POST", "/v2/a/blobs/uploads/?mount=x&from=b", oci.DigestInvalid, 0},
		{"POST", "/v2/a/blobs/uploads/?mount=" + d256 + "&from=B", oci.NameInvalid, 0},

		{"GET", "/v2/a/tags/list?n=-1", oci.PaginationNumberInvalid, 0},
		{"GET", "/v2/a/tags/list?n=", oci.PaginationNumberInvalid, 0},
		{"GET", "/v2/a/tags/list?n=1e3", oci.PaginationNumberInvalid, 0},
		{"GET", "/v2/a/tags/list?n=%2B1", oci.PaginationNumberInvalid, 0},
		{"GET", "/v2/_catalog?n=x", oci.PaginationNumberInvalid, 0},
		{"GET", "/v2/a/tags/list?n=1&n=2", "", badRequest},
		{"GET", "/v2/a/tags/list?n=%zz", "", badRequest},
		{"GET", "/v2/a/tags/list?a;b", "", badRequest},
		{"GET", "/v2/a/referrers/" + d256 + "?artifactType=%00", "", badRequest},
		{"GET", "/v2/a/referrers/" + d256 + "?artifactType=" + strings.Repeat("a", 256), "", badRequest},
		{"PUT", "/v2/a/manifests/" + d256 + "?tag=", oci.TagInvalid, 0},
		{"PUT", "/v2/a/manifests/" + d256 + "?tag=a,b", oci.TagInvalid, 0},
		{"PUT", "/v2/a/manifests/" + d256 + "?tag=a" + strings.Repeat("&tag=a", MaxTags), "", 414},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			got, err := parse(t, tt.method, tt.target)
			status := 0
			if e, ok := errors.AsType[*RequestError](err); ok {
				status = e.Status
			}
			if code := oci.CodeOf(err); code != tt.code || status != tt.status {
				t.Errorf("got %+v, %v\nwant code %q, status %d", got, err, tt.code, tt.status)
			}
			if got != (Route{}) {
				t.Errorf("got %+v with an error", got)
			}
		})
	}
}

func TestParseAllow(t *testing.T) {
	tests := []struct{ method, target, want string }{
		{"POST", "/v2/", "GET, HEAD"},
		{"PUT", "/v2/token", "GET, HEAD, POST"},
		{"POST", "/v2/a/tags/list", "GET, HEAD"},
		{"POST", "/v2/a/manifests/x", "GET, HEAD, PUT, DELETE"},
		{"PUT", "/v2/a/blobs/" + d256, "GET, HEAD, DELETE"},
		{"GET", "/v2/a/blobs/uploads/", "POST"},
		{"POST", "/v2/a/blobs/uploads/u", "GET, HEAD, PATCH, PUT, DELETE"},
		{"OPTIONS", "/v2/_catalog", "GET, HEAD"},
		{"get", "/v2/", "GET, HEAD"},
		{strings.Repeat("X", 99), "/v2/", "GET, HEAD"},
	}
	for _, tt := range tests {
		_, err := parse(t, tt.method, tt.target)
		e, ok := errors.AsType[*RequestError](err)
		if !ok || e.Status != 405 || e.Allow != tt.want {
			t.Errorf("%s %s: got %+v, want 405 with Allow %q", tt.method, tt.target, err, tt.want)
		}
	}
}

// TestParseOneMeaning sends what clients have tried to smuggle past a check by
// path, in the form in which net/http hands it over.
func TestParseOneMeaning(t *testing.T) {
	for _, target := range []string{
		`/v2/a"%2Fb/manifests/x`, `/v2/a%2F%2E%2E%2Fb/manifests/x`, "/v2/a/manifests/x%00", `/v2/a\b/manifests/x`, "/v2/a/manifests/x%0d%0aSet-Cookie:y",
	} {
		if got, err := parse(t, "GET", target); err == nil {
			t.Errorf("%s: got %+v, want an error", target, got)
		}
	}
}

func TestTags(t *testing.T) {
	rt, err := parse(t, "PUT", "/v2/a/manifests/x?tag=b&tag=A&tag=b")
	if err != nil {
		t.Fatal(err)
	}
	got := rt.Tags()
	if len(got) != 2 || got[0].String() != "b" || got[1].String() != "A" {
		t.Errorf("got %v, want [b A]", got)
	}
	if got := (Route{Kind: ManifestPut}).Tags(); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

// TestEndpoints holds that every Kind is described, and only once.
func TestEndpoints(t *testing.T) {
	names, addresses := map[string]bool{}, map[string]bool{}
	list := Endpoints()
	if len(list) != int(UploadCancel) {
		t.Errorf("got %d endpoints, want %d", len(list), UploadCancel)
	}
	for i, e := range list {
		address := e.Method + " " + e.Pattern
		if e.Kind != Kind(i+1) || e.Name == "" || e.Does == "" || e.Success == "" || e.shape == noShape || names[e.Name] || addresses[address] {
			t.Errorf("endpoint %d is described wrongly: %+v", i, e)
		}
		names[e.Name], addresses[address] = true, true
		if named := strings.Contains(e.Pattern, "<name>"); named != (e.Needs != "") {
			t.Errorf("%s: needs %q", e.Name, e.Needs)
		}
	}
	if got := Kind(200).String(); got != "none" {
		t.Errorf("got %q for no kind, want none", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, target := range []string{
		"/v2/", "/v2/a/b/tags/list?n=2&last=%ff", "/v2/a/manifests/sha256%3A" + hex64, "/v2/a/blobs/uploads/u?digest=" + d256,
		"/v2/a/blobs/uploads/?mount=" + d256 + "&from=b&digest=" + d512 + "&digest-algorithm=sha512", "/v2/a/referrers/" + d256 + "?artifactType=a/b&n=1&last=x",
		"/v2/a/manifests/" + d256 + "?tag=a&tag=b", "/v2/_catalog?n=0", "/v2/token", "/v2/a/blobs/uploads/manifests/x", `/v2/"%2F/tags/list`,
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			f.Add(method, target)
		}
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		rt, err := Parse(method, u)
		if err != nil {
			_, request := errors.AsType[*RequestError](err)
			if rt != (Route{}) || !request && oci.CodeOf(err) == "" {
				t.Errorf("got %+v, %v", rt, err)
			}
			return
		}
		checkRoundTrip(t, rt)
	})
}
