package hostile

import (
	"fmt"
	"net/url"
	"strings"
)

// groups returns all attacks. The numbers are rows of tables C and D of the
// threat catalogue that docs/security.md answers.
func groups(good image) []group {
	return []group{
		names(), references(), digests(good), paths(), methods(), lists(good),
		manifests(good), uploads(good), ranges(good), headers(good), wire(good),
	}
}

var badNames = []string{
	"..", ".", "a/..", "../a", "a/../b", "a/./b", "A", "aB", "a/B", "a..b", "a//b", "-a", "a-", "_a", "a_", ".a", "a.", "a___b",
	"a%2fb", "a%2Fb", "%2e%2e", "a%00", "a%0a", "%0d%0aX-Evil:1", "a%20b", "a+b", "a%25", "%ff", "%C3%A4", "%E2%84%AA", "a;b", "a,b", "a=b", "a@b", "a:5000", "a:b/c",
	"a%5c..", "con.", "a~b", "a!b", "a'b", "a%22b", "a<b>", "$HOME", "a*b", "a%7c", "${jndi:x}", "%EF%BC%A1",
	strings.Repeat("a", 256), strings.Repeat("a/", 130) + "a", strings.Repeat("a", 5000),
}

func names() group {
	g := group{name: "C1, C2, C8: names"}
	d := "sha256:" + strings.Repeat("a", 64)
	for _, n := range badNames {
		g.add(get("GET", "/v2/"+n+"/manifests/v1"), 400, 404)
		g.add(get("GET", "/v2/"+n+"/blobs/"+d), 400, 404)
		g.add(raw("POST", "/v2/"+n+"/blobs/uploads/", ""), 400, 404)
	}
	return g
}

func references() group {
	g := group{name: "C3: tags"}
	for _, tag := range []string{
		".latest", "-x", "..", "..%2f..%2fetc%2fpasswd", "%3cscript%3e", "a%2fb", "a b", "a%20b", "a%00b", "a%0ab", "%E2%98%83", "a+b", "a@b", "a,b", "a;b",
		"a=b", "a&b", "a'b", "a%22", "a*", "%", "%zz", strings.Repeat("a", 129), strings.Repeat("a", 10_000),
	} {
		g.add(get("GET", "/v2/good/manifests/"+tag), 400, 404)
		g.add(raw("PUT", "/v2/good/manifests/"+tag, `{"layers":[]}`, "Content-Type: "+mediaType), 400, 404)
		g.add(get("DELETE", "/v2/good/manifests/"+tag), 400, 404)
		g.add(raw("PUT", "/v2/good/manifests/sha256:"+strings.Repeat("a", 64)+"?tag="+url.QueryEscape(tag), `{"layers":[]}`, "Content-Type: "+mediaType), 400, 404)
	}
	g.attacks = fixURLs(g.attacks)
	return g
}

// fixURLs marks those that are no valid request line, which net/http refuses by
// itself.
func fixURLs(list []attack) []attack {
	for i, a := range list {
		line, _, _ := strings.Cut(a.request, "\r\n")
		parts := strings.Split(line, " ")
		if len(parts) != 3 {
			list[i].plain = true
		} else if _, err := url.ParseRequestURI(parts[1]); err != nil {
			list[i].plain = true
		}
	}
	return list
}

func digests(good image) group {
	g := group{name: "C7: digests"}
	hex := strings.TrimPrefix(good.digest, "sha256:")
	for _, d := range []string{
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:" + strings.Repeat("a", 40), "sha384:" + strings.Repeat("a", 96), "SHA256:" + hex, "sha256:" + strings.ToUpper(hex),
		"sha256:" + hex[:63], "sha256:" + hex + "a", "sha512:" + hex, "sha256:", ":", "sha256", hex, "sha256:" + strings.Repeat("g", 64), "sha256:../" + hex, "sha256%2f" + hex,
		"sha256:" + hex + "%00", "sha256:%20" + hex, "sha256+b64:" + hex, "tarsum.v1+sha256:" + hex, "sha256:" + strings.Repeat("a", 10_000),
	} {
		g.add(get("GET", "/v2/good/blobs/"+d), 400, 404)
		g.add(get("HEAD", "/v2/good/blobs/"+d), 400, 404)
		g.add(get("DELETE", "/v2/good/blobs/"+d), 400, 404)
		g.add(get("GET", "/v2/good/referrers/"+d), 400, 404)
		g.add(raw("POST", "/v2/good/blobs/uploads/?digest="+d, "x"), 400, 404)
		g.add(raw("POST", "/v2/good/blobs/uploads/?mount="+d+"&from=good", ""), 400, 404)
	}
	g.add(raw("POST", "/v2/good/blobs/uploads/?digest-algorithm=md5", ""), 400)
	g.add(raw("POST", "/v2/good/blobs/uploads/?digest="+digestOf([]byte("y")), "x"), 400)
	g.add(raw("PUT", "/v2/good/manifests/"+good.ref, "{}", "Content-Type: "+mediaType), 400)
	g.add(raw("POST", "/v2/good/blobs/uploads/?mount="+good.digest+"&from=..%2fgood", ""), 400)
	return g
}

func paths() group {
	g := group{name: "C1, C2, C10: paths"}
	for _, p := range []string{
		"/v2//good/manifests/v1", "/v2/./good/manifests/v1", "/v2/x/../good/manifests/v1", "//v2/good/manifests/v1", "//evil.example:443/v2/", "/v2/good//manifests/v1",
		"/v2/good/manifests/", "/v2/good/manifests", "/v2/good/", "/v2/good", "/v2/good/blobs/", "/v2/good/tags", "/v2/good/tags/list/", "/v2/good/tags/other", "/v2/_catalog/", "/v2/_x",
		"/v2/good/blobs/uploads/x/y", "/v2/good/manifests/v1/", "/v2/good/manifests/v1/x", "/v2/%67ood%2fmanifests%2fv1", "/v1/", "/v1/_ping", "/v3/", "/V2/", "/v2;x/",
		"/../berth.db", "/.git/config", "/etc/passwd", "/v2/../../etc/passwd", "/..%2f..%2fetc/passwd", "/berth/berth.db", "/debug/pprof/", "/metrics", "/admin", "/v2/good/manifests/v1%2f..%2fv1",
		"/v2/good/..%2fgood/manifests/v1", "/%2e%2e/v2/", "/v2/\\good", "/v2/good/manifests/..;/v1", "/v2/good/blobs/uploads/../uploads/",
	} {
		g.addPlain(get("GET", p), 400, 404, 405)
		g.addPlain(get("DELETE", p), 400, 404, 405)
	}
	return g
}

func methods() group {
	g := group{name: "methods"}
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"} {
		for _, p := range []string{"/v2/", "/v2/_catalog", "/v2/good/tags/list", "/v2/good/referrers/sha256:" + strings.Repeat("a", 64)} {
			if m != "CONNECT" {
				g.add(raw(m, p, ""), 405, 404, 400)
			}
		}
	}
	for _, m := range []string{"PATCH", "POST", "OPTIONS"} {
		g.add(raw(m, "/v2/good/manifests/v1", ""), 405)
		g.add(raw(m, "/v2/good/blobs/sha256:"+strings.Repeat("a", 64), ""), 405)
	}
	g.add(raw("POST", "/v2/good/manifests/v1", "", "X-HTTP-Method-Override: DELETE"), 405)
	g.addPlain("CONNECT registry:80 HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n", 400, 404, 405)
	g.addPlain("GET http://evil.example/v2/nosuch/manifests/v1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400, 404)
	return g
}

func lists(good image) group {
	g := group{name: "D7, D15, D16, E20: lists"}
	for _, p := range []string{"/v2/_catalog", "/v2/good/tags/list", "/v2/good/referrers/" + good.digest} {
		for _, n := range []string{"-1", "a", "1.5", "1e3", "0x10", "%20", "999999999999999999999", "-9223372036854775808", "1%00", "%2b1", ""} {
			g.add(get("GET", p+"?n="+n), 400, 200)
		}
		for _, last := range []string{"../../etc", "%00", "'%20OR%201=1--", "%25", "_", "%5c", "%0d%0aX-Evil:%201", "%ff", strings.Repeat("z", 3000)} {
			g.add(get("GET", p+"?n=1&last="+last), 200, 400)
		}
	}
	for _, a := range []string{"%00", "%0d%0aX-Evil:1", strings.Repeat("a", 4000), "%ff"} {
		g.add(get("GET", "/v2/good/referrers/"+good.digest+"?artifactType="+a), 200, 400)
	}
	return g
}

func manifests(good image) group {
	g := group{name: "D1-D7, D14: manifests"}
	d := fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, good.digest, len(good.layer))
	index := "application/vnd.oci.image.index.v1+json"
	bad := []struct{ contentType, body string }{
		{mediaType, ""}, {mediaType, "null"}, {mediaType, "[]"}, {mediaType, "7"}, {mediaType, `"x"`}, {mediaType, "{"}, {mediaType, "{}x"}, {mediaType, "{}{}"}, {mediaType, "\ufeff{}"},
		{mediaType, "{\"a\":\"\xff\"}"}, {mediaType, "{\x00}"}, {mediaType, `{"config":` + d + `,"config":` + d + `}`}, {mediaType, `{"CONFIG":` + d + `}`}, {mediaType, `{"layers":[],"Layers":[]}`},
		{mediaType, `{"manifests":[]}`}, {index, `{"layers":[]}`}, {index, `{"manifests":[],"config":` + d + `}`}, {index, `{"mediaType":"` + mediaType + `","manifests":[]}`},
		{mediaType, `{"config":{"digest":"` + good.digest + `","size":-1}}`}, {mediaType, `{"config":{"digest":"` + good.digest + `","size":1e999}}`}, {mediaType, `{"config":{"digest":"` + good.digest + `","size":9007199254740993}}`},
		{mediaType, `{"config":{"digest":"` + good.digest + `","size":1.5}}`}, {mediaType, `{"config":{"digest":"` + good.digest + `","size":"1"}}`}, {mediaType, `{"config":{"digest":"` + good.digest + `","size":1}}`},
		{mediaType, `{"config":{"digest":"md5:x","size":1}}`}, {mediaType, `{"config":[]}`}, {mediaType, `{"layers":{}}`}, {mediaType, `{"layers":[null]}`}, {mediaType, `{"layers":[[]]}`},
		{mediaType, `{"subject":{}}`}, {mediaType, `{"subject":"x"}`}, {mediaType, `{"subject":{"digest":"x","size":1}}`}, {mediaType, `{"annotations":{"a":1}}`}, {mediaType, `{"annotations":[]}`},
		{mediaType, `{"layers":[{"digest":"` + good.digest + `","size":10000,"urls":["file:///etc/passwd"]}]}`}, {mediaType, `{"layers":[{"digest":"` + good.digest + `","size":10000,"urls":["gopher://x"]}]}`},
		{mediaType, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`}, {mediaType, strings.Repeat(`{"a":`, 100_000)}, {mediaType, strings.Repeat("[", 1_000_000)},
		{index, `{"manifests":[` + strings.Repeat(d+",", 10_001) + d + `]}`}, {mediaType, `{"schemaVersion":1}`}, {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"signatures":[]}`},
		{"text", `{"layers":[]}`}, {"a/b c", `{"layers":[]}`}, {"evil\tx/y", `{"layers":[]}`}, {"", `{}`}, {strings.Repeat("a", 300) + "/b", `{}`}, {"*/*", `{}`},
	}
	for _, m := range bad {
		g.add(raw("PUT", "/v2/good/manifests/v1", m.body, "Content-Type: "+m.contentType), 400, 413)
	}
	large := `{"x":"` + strings.Repeat("a", 4<<20) + `"}`
	g.add(raw("PUT", "/v2/good/manifests/v1", large, "Content-Type: "+mediaType), 413)
	g.add("PUT /v2/good/manifests/v1 HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nContent-Type: "+mediaType+"\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large), large), 413)
	g.add(raw("PUT", "/v2/good/manifests/v1", string(good.manifest), "Content-Type: "+mediaType, "Content-Encoding: gzip"), 415)
	g.add(raw("PUT", "/v2/good/manifests/v1?tag=a", string(good.manifest), "Content-Type: "+mediaType), 400, 201)
	g.add(raw("PUT", "/v2/good/manifests/"+good.ref+"?"+strings.Repeat("tag=a&", 200), string(good.manifest), "Content-Type: "+mediaType), 414, 400)
	g.attacks = removeAccepted(g.attacks)
	return g
}

// removeAccepted drops the attack that a registry may accept, since it would
// change the list of tags.
func removeAccepted(list []attack) []attack {
	var kept []attack
	for _, a := range list {
		if !a.allows(201) {
			kept = append(kept, a)
		}
	}
	return kept
}

func uploads(good image) group {
	g := group{name: "D8-D12: uploads"}
	id := "00000000-0000-4000-8000-000000000000"
	for _, u := range []string{id, "x", "..", "%2e%2e", "{" + id + "}", strings.ToUpper(id), strings.Repeat("a", 3000), "%00", id + "%0a", "'"} {
		for _, m := range []string{"GET", "PATCH", "DELETE"} {
			g.add(raw(m, "/v2/good/blobs/uploads/"+u, ""), 404, 400)
		}
		g.add(raw("PUT", "/v2/good/blobs/uploads/"+u+"?digest="+good.digest, "x"), 404, 400)
	}
	g.add(raw("PUT", "/v2/good/blobs/uploads/"+id, ""), 400, 404)
	for _, r := range []string{"bytes 0-9/*", "a-b", "9-0", "-1", "0-", "-", "", "0-18446744073709551616", "0--1", "0-9,10-19", "1-2-3", "%30-9", "0-9\tx"} {
		g.add(raw("PATCH", "/v2/good/blobs/uploads/"+id, "0123456789", "Content-Range: "+r), 400, 404, 416)
	}
	g.add(raw("POST", "/v2/good/blobs/uploads/?digest="+good.digest, "x", "Content-Encoding: gzip"), 415)
	g.add(raw("POST", "/v2/good/blobs/uploads/?digest="+good.digest, "short"), 400)
	return g
}

func ranges(good image) group {
	g := group{name: "D13: ranges"}
	for _, r := range []string{
		"bytes=500-0", "bytes=10000-", "bytes=99999999999999999999-", "bytes=-0", "bytes=20000-30000", "bytes=a-b", "bytes=-", "bytes=", "bytes", "items=0-1", "bytes=0-1,2-3", "bytes=--1",
		"bytes=" + strings.TrimSuffix(strings.Repeat("0-1,", 1000), ","), "bytes=0-" + strings.Repeat("9", 20), "bytes=1-1;x", "bytes = 0-1",
	} {
		g.add(get("GET", "/v2/good/blobs/"+good.digest, "Range: "+r), 200, 206, 416)
	}
	return g
}

func headers(good image) group {
	g := group{name: "headers"}
	blob := "/v2/good/blobs/" + good.digest
	g.add(get("GET", blob, "Authorization: Basic YTpi", "Authorization: Basic YTpj"), 200) // nobody can log in here, so nobody reads it
	g.add(get("GET", "/v2/nosuch/manifests/v1", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: javascript", "Forwarded: host=evil.example"), 404)
	g.add(get("GET", "/v2/nosuch/manifests/v1", "X-Original-URL: /v2/good/manifests/v1", "X-Rewrite-URL: /v2/good/manifests/v1"), 404)
	g.add(raw("POST", "/v2/good/blobs/uploads/", "", "Host: evil.example"), 202, 400)
	g.add(get("DELETE", "/v2/good/manifests/v1", "Sec-Fetch-Site: cross-site"), 403)
	g.add(get("GET", "/v2/nosuch/tags/list", "Cookie: session=x", "X-Request-Id: \x01evil"), 400, 404)
	g.addPlain(get("GET", blob, "X-Long: "+strings.Repeat("a", 80<<10)), 431)
	g.addPlain(get("GET", "/v2/"+strings.Repeat("a/", 40<<10)), 431, 400, 404, 414)
	for i := range g.attacks {
		g.attacks[i].plain = g.attacks[i].plain || strings.Count(g.attacks[i].request, "\r\nHost:") > 1 || strings.Contains(g.attacks[i].request, "\x01")
	}
	return g
}

// wire holds what is wrong as HTTP: smuggling, truncation, noise.
func wire(good image) group {
	g := group{name: "E1: HTTP itself"}
	head := "Host: registry\r\nConnection: close\r\n"
	put := "PUT /v2/good/manifests/v1 HTTP/1.1\r\n" + head
	for _, r := range []string{
		put + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		put + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		put + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		put + "Content-Length: -1\r\n\r\n", put + "Content-Length: +5\r\n\r\nhello", put + "Content-Length: 99999999999999999999\r\n\r\n", put + "Content-Length: 0x5\r\n\r\nhello",
		put + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", put + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", put + "Bad Header: x\r\n\r\n", put + ": x\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\n\r\n", "GET /v2/ HTTP/9.9\r\n" + head + "\r\n", "GET  /v2/ HTTP/1.1\r\n" + head + "\r\n", "GET /v2/\x00 HTTP/1.1\r\n" + head + "\r\n",
		"GET /v2/nosuch/tags/list HTTP/1.1\r\nHost: a b\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HELO evil\r\n\r\n", "\r\n\r\n\r\nnoise\r\n\r\n",
	} {
		g.addPlain(r, 400, 404, 411, 413, 501, 505) // the last two are net/http's, and end the connection
	}
	g.addPlain("GET /v2/nosuch/tags/list HTTP/1.0\r\n\r\n", 404)
	return g
}
