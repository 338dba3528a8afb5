package diff

import (
	"fmt"
	"strings"
)

const (
	typeDocker  = "application/vnd.docker.distribution.manifest.v2+json"
	typeList    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeImage   = "application/vnd.oci.image.manifest.v1+json"
	typeIndex   = "application/vnd.oci.image.index.v1+json"
	typeBytes   = "application/octet-stream"
	everything  = typeDocker + ", " + typeList + ", " + typeImage + ", " + typeIndex
	config      = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	layer       = "these bytes are a layer"
	unknownBlob = "nobody has these bytes"
)

// manifest returns an image's manifest.
func manifest(kind string) string {
	configType := "application/vnd.oci.image.config.v1+json"
	layerType := "application/vnd.oci.image.layer.v1.tar+gzip"
	if kind == typeDocker {
		configType, layerType = "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"size":%d,"digest":%q},"layers":[{"mediaType":%q,"size":%d,"digest":%q}]}`,
		kind, configType, len(config), digest(config), layerType, len(layer), digest(layer))
}

// index returns an index of one image.
func index(kind, child string) string {
	m := manifest(child)
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"size":%d,"digest":%q,"platform":{"architecture":"amd64","os":"linux"}}]}`,
		kind, child, len(m), digest(m))
}

// accept asks for every kind of manifest.
func accept() map[string]string { return map[string]string{"Accept": everything} }

// requests is everything that is asked of registries with deletes on and without
// log-in, in this order.
func requests() []request {
	var all []request
	for _, part := range [][]request{pings(), uploads(), blobs(), manifests(), lists(), deletes()} {
		all = append(all, part...)
	}
	return all
}

func pings() []request {
	return []request{
		{id: "ping", method: "GET", path: "/v2/"},
		{id: "ping HEAD", method: "HEAD", path: "/v2/"},
		{id: "ping without slash", method: "GET", path: "/v2"},
		{id: "ping POST", method: "POST", path: "/v2/"},
		{id: "version 1", method: "GET", path: "/v1/_ping"},
		{id: "no such route", method: "GET", path: "/v2/a/b/nonsense"},
		{id: "catalog of nothing", method: "GET", path: "/v2/_catalog"},
		{id: "tags of nothing", method: "GET", path: "/v2/nothing/tags/list"},
		{id: "manifest of nothing", method: "GET", path: "/v2/nothing/manifests/v1"},
		{id: "manifest of nothing HEAD", method: "HEAD", path: "/v2/nothing/manifests/v1"},
		{id: "blob of nothing", method: "GET", path: "/v2/nothing/blobs/" + digest(unknownBlob)},
		{id: "blob of nothing HEAD", method: "HEAD", path: "/v2/nothing/blobs/" + digest(unknownBlob)},
		{id: "name in upper case", method: "GET", path: "/v2/UPPER/tags/list"},
	}
}

func uploads() []request {
	patch := func(first, last int) map[string]string {
		return map[string]string{"Content-Range": fmt.Sprintf("%d-%d", first, last)}
	}
	return []request{
		{id: "start", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "status of nothing yet", method: "GET", path: "{u}"},
		{id: "first piece", method: "PATCH", path: "{u}", body: layer[:10], kind: typeBytes, header: patch(0, 9)},
		{id: "status of a piece", method: "GET", path: "{u}"},
		{id: "second piece", method: "PATCH", path: "{u}", body: layer[10:], kind: typeBytes, header: patch(10, len(layer)-1)},
		{id: "finish", method: "PUT", path: "{u}?digest=" + digest(layer)},
		{id: "start out of order", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "piece from the wrong place", method: "PATCH", path: "{u}", body: "xxxxx", kind: typeBytes, header: patch(3, 7)},
		{id: "start whole", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "finish whole", method: "PUT", path: "{u}?digest=" + digest(config), body: config, kind: typeBytes},
		{id: "start wrong", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "finish with the wrong digest", method: "PUT", path: "{u}?digest=" + digest(unknownBlob), body: "other bytes", kind: typeBytes},
		{id: "start without digest", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "finish without digest", method: "PUT", path: "{u}", body: "bytes", kind: typeBytes},
		{id: "start malformed", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "finish with a malformed digest", method: "PUT", path: "{u}?digest=sha256:short", body: "bytes", kind: typeBytes},
		{id: "start to cancel", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "cancel", method: "DELETE", path: "{u}"},
		{id: "status of a cancelled one", method: "GET", path: "{u}"},
		{id: "cancel a cancelled one", method: "DELETE", path: "{u}"},
		{id: "status of an unknown one", method: "GET", path: "/v2/app/blobs/uploads/6b3c9a93-af5d-473f-a4ff-9710022185cd"},
		{id: "monolithic", method: "POST", path: "/v2/app/blobs/uploads/?digest=" + digest("monolithic"), body: "monolithic", kind: typeBytes},
		{id: "start sha512", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "finish sha512", method: "PUT", path: "{u}?digest=" + digest512("by sha512"), body: "by sha512", kind: typeBytes},
		{id: "mount", method: "POST", path: "/v2/third/blobs/uploads/?mount=" + digest(layer) + "&from=app"},
		{id: "mount what is not there", method: "POST", path: "/v2/third/blobs/uploads/?mount=" + digest(unknownBlob) + "&from=app"},
		{id: "mount for an image", method: "POST", path: "/v2/other/blobs/uploads/?mount=" + digest(layer) + "&from=app"},
		{id: "mount its config", method: "POST", path: "/v2/other/blobs/uploads/?mount=" + digest(config) + "&from=app"},
		{id: "push what was mounted", method: "PUT", path: "/v2/other/manifests/v1", kind: typeDocker, body: manifest(typeDocker)},
		{id: "mount malformed", method: "POST", path: "/v2/third/blobs/uploads/?mount=short&from=app"},
		{id: "start in upper case", method: "POST", path: "/v2/UPPER/blobs/uploads/"},
	}
}

func blobs() []request {
	blob := "/v2/app/blobs/" + digest(layer)
	part := func(s string) map[string]string { return map[string]string{"Range": s} }
	return []request{
		{id: "blob", method: "GET", path: blob},
		{id: "blob HEAD", method: "HEAD", path: blob},
		{id: "blob that was mounted", method: "GET", path: "/v2/third/blobs/" + digest(layer)},
		{id: "blob of another repository", method: "GET", path: "/v2/third/blobs/" + digest(config)},
		{id: "blob by sha512", method: "GET", path: "/v2/app/blobs/" + digest512("by sha512")},
		{id: "blob that is known", method: "GET", path: blob, header: map[string]string{"If-None-Match": `"` + digest(layer) + `"`}},
		{id: "blob that is not known", method: "GET", path: blob, header: map[string]string{"If-None-Match": `"` + digest(config) + `"`}},
		{id: "first bytes", method: "GET", path: blob, header: part("bytes=0-4")},
		{id: "bytes from", method: "GET", path: blob, header: part("bytes=5-")},
		{id: "last bytes", method: "GET", path: blob, header: part("bytes=-5")},
		{id: "bytes behind the end", method: "GET", path: blob, header: part("bytes=1000-")},
		{id: "malformed digest", method: "GET", path: "/v2/app/blobs/sha256:short"},
		{id: "md5", method: "GET", path: "/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e"},
		{id: "blob POST", method: "POST", path: blob},
	}
}

func manifests() []request {
	put := func(id, ref, kind, body string) request {
		return request{id: id, method: "PUT", path: "/v2/app/manifests/" + ref, kind: kind, body: body}
	}
	get := func(id, method, ref string) request {
		return request{id: id, method: method, path: "/v2/app/manifests/" + ref, header: accept()}
	}
	d := digest(manifest(typeDocker))
	sparse := strings.Replace(manifest(typeImage), digest(layer), digest(unknownBlob), 1)
	sparseIndex := strings.Replace(index(typeIndex, typeImage), digest(manifest(typeImage)), digest(unknownBlob), 1)
	return []request{
		put("push docker", "docker", typeDocker, manifest(typeDocker)),
		put("push OCI", "oci", typeImage, manifest(typeImage)),
		put("push list", "list", typeList, index(typeList, typeDocker)),
		put("push index", "index", typeIndex, index(typeIndex, typeImage)),
		put("push by digest", d, typeDocker, manifest(typeDocker)),
		put("push by the wrong digest", digest(layer), typeDocker, manifest(typeDocker)),
		put("push again", "docker", typeDocker, manifest(typeDocker)),
		put("push what is no JSON", "bad", typeDocker, "no JSON"),
		put("push nothing", "bad", typeDocker, ""),
		put("push without a type", "docker", "", manifest(typeDocker)),
		put("push as another type", "bad", typeImage, manifest(typeDocker)),
		put("push as text", "bad", "text/plain", manifest(typeDocker)),
		put("push with a missing layer", digest(sparse), typeImage, sparse),
		put("push an index with a missing image", digest(sparseIndex), typeIndex, sparseIndex),
		put("push under a malformed tag", ".bad", typeDocker, manifest(typeDocker)),
		get("pull docker", "GET", "docker"), get("pull docker HEAD", "HEAD", "docker"), get("pull OCI", "GET", "oci"), get("pull list", "GET", "list"),
		get("pull index", "GET", "index"), get("pull by digest", "GET", d), get("pull unknown tag", "GET", "unknown"),
		get("pull unknown tag HEAD", "HEAD", "unknown"), get("pull unknown digest", "GET", digest(unknownBlob)),
		{id: "pull what is known", method: "GET", path: "/v2/app/manifests/docker", header: map[string]string{"Accept": everything, "If-None-Match": `"` + d + `"`}},
		{id: "pull OCI without Accept", method: "GET", path: "/v2/app/manifests/oci"},
		{id: "pull a list without Accept", method: "GET", path: "/v2/app/manifests/list"},
		{id: "manifest POST", method: "POST", path: "/v2/app/manifests/docker"},
	}
}

func lists() []request {
	get := func(id, path string) request { return request{id: id, method: "GET", path: path} }
	return []request{
		get("tags", "/v2/app/tags/list"),
		get("two tags", "/v2/app/tags/list?n=2"),
		get("tags after one", "/v2/app/tags/list?n=2&last=index"),
		get("tags after the last", "/v2/app/tags/list?last=zzz"),
		get("no tags", "/v2/app/tags/list?n=0"),
		get("tags by a negative number", "/v2/app/tags/list?n=-1"),
		get("tags by a word", "/v2/app/tags/list?n=two"),
		get("tags of what has none", "/v2/third/tags/list"),
		get("catalog", "/v2/_catalog"),
		get("catalog page", "/v2/_catalog?n=1"),
		get("catalog after one", "/v2/_catalog?n=5&last=app"),
		get("catalog by a word", "/v2/_catalog?n=two"),
		get("catalog of none", "/v2/_catalog?n=0"),
		get("referrers", "/v2/app/referrers/"+digest(manifest(typeImage))),
	}
}

func deletes() []request {
	del := func(id, path string) request { return request{id: id, method: "DELETE", path: path} }
	return []request{
		del("delete an unknown blob", "/v2/app/blobs/"+digest(unknownBlob)),
		del("delete an unknown manifest", "/v2/app/manifests/"+digest(unknownBlob)),
		del("delete an unknown tag", "/v2/app/manifests/unknown"),
		del("delete a blob in use", "/v2/app/blobs/"+digest(layer)),
		del("delete a child in use", "/v2/app/manifests/"+digest(manifest(typeImage))),
		del("delete a tag", "/v2/app/manifests/index"),
		del("delete an index", "/v2/app/manifests/"+digest(index(typeIndex, typeImage))),
		del("delete a manifest", "/v2/app/manifests/"+digest(manifest(typeImage))),
		{id: "pull what was deleted", method: "GET", path: "/v2/app/manifests/oci", header: accept()},
		del("delete a mounted blob", "/v2/third/blobs/"+digest(layer)),
		{id: "get a deleted blob", method: "GET", path: "/v2/third/blobs/" + digest(layer)},
	}
}

// withoutDeletes is asked where deletes are off.
func withoutDeletes() []request {
	return []request{
		{id: "off: start", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "off: finish", method: "PUT", path: "{u}?digest=" + digest(layer), body: layer, kind: typeBytes},
		{id: "off: delete a blob", method: "DELETE", path: "/v2/app/blobs/" + digest(layer)},
		{id: "off: delete an unknown blob", method: "DELETE", path: "/v2/app/blobs/" + digest(unknownBlob)},
		{id: "off: delete a manifest", method: "DELETE", path: "/v2/app/manifests/" + digest(manifest(typeImage))},
		{id: "off: blob is still there", method: "HEAD", path: "/v2/app/blobs/" + digest(layer)},
	}
}

// withLogIn is asked where log-in is needed.
func withLogIn() []request {
	return []request{
		{id: "log-in: ping", method: "GET", path: "/v2/"},
		{id: "log-in: ping wrong", method: "GET", path: "/v2/", login: "wrong"},
		{id: "log-in: ping right", method: "GET", path: "/v2/", login: "right"},
		{id: "log-in: pull", method: "GET", path: "/v2/app/manifests/v1"},
		{id: "log-in: pull HEAD", method: "HEAD", path: "/v2/app/manifests/v1"},
		{id: "log-in: pull right", method: "GET", path: "/v2/app/manifests/v1", login: "right"},
		{id: "log-in: push", method: "POST", path: "/v2/app/blobs/uploads/"},
		{id: "log-in: push wrong", method: "POST", path: "/v2/app/blobs/uploads/", login: "wrong"},
		{id: "log-in: push right", method: "POST", path: "/v2/app/blobs/uploads/", login: "right"},
		{id: "log-in: catalog", method: "GET", path: "/v2/_catalog"},
		{id: "log-in: catalog right", method: "GET", path: "/v2/_catalog", login: "right"},
		{id: "log-in: bearer", method: "GET", path: "/v2/", header: map[string]string{"Authorization": "Bearer x"}},
	}
}
