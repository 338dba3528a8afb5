package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// grown measures how the cost of things grows with the number of tags and of
// referrers of one repository, and with that of repositories.
func grown(s sizes) []workload {
	var list []workload
	for i, n := range s.tags {
		list = append(list, ofTags(n, s)...)
		switch i {
		case 0:
			list = append(list, deletes("delete of a manifest c1", n, 1, s), deletes("delete of a manifest c8", n, 8, s))
		case 1:
			for _, m := range []mode{passwords, secured} {
				page := ofTags(n, s)[0]
				page.name, page.mode = in(m, page.name), m
				list = append(list, page)
			}
		}
	}
	list = append(list, deleteAt(s.deletes, s))
	for _, n := range s.referrers {
		list = append(list, ofReferrers(n)...)
	}
	for _, n := range s.repos {
		list = append(list, ofRepos(n)...)
		if n == s.started {
			list = append(list, starts(n, "repositories", repos(n), "/v2/"+repoName(0)+"/manifests/v1"), idle(n))
		}
	}
	return list
}

// tooLong is how many entries are only measured when asked for.
const tooLong = 10_000

// of completes workloads on a store of n entries.
func of(n int, store string, needs supply, list []workload) []workload {
	for i := range list {
		list[i].name = fmt.Sprintf("%s of %d", list[i].name, n)
		list[i].store, list[i].needs, list[i].long = store, needs, n > tooLong
		list[i].clients = max(1, list[i].clients)
	}
	return list
}

func ofTags(n int, s sizes) []workload {
	repo := tagsRepo(n)
	first := n * 3 / 4
	list := of(n, "tags", tags(n), []workload{
		{name: "page of 100 tags", unit: "pages", do: getPage("/v2/"+repo+"/tags/list?n=100&last="+tagName(first), min(100, n-1-first))},
		{name: "all tags", unit: "lists", do: getList("/v2/"+repo+"/tags/list", n)},
		{name: "manifest GET by tag", unit: "requests", do: func(t *target, c *conn, i int) error {
			return getManifest(c, "GET", repo, tagName(i*7919%n), t.images[0])
		}},
		{name: "a tag that moves", unit: "tags", do: func(t *target, c *conn, i int) error {
			return t.images[0].another(uint64(i%2)).put(c, repo, "moving")
		}},
	})
	return append(list, deleteAt(n, s))
}

// deleteAt deletes manifests of a repository with n tags.
func deleteAt(n int, s sizes) workload {
	return deletes(fmt.Sprintf("delete of a manifest at tags of %d", n), n, 1, s)
}

// deletes deletes manifests, each of which has a tag, of a repository that has n
// more. How many there are at once is bounded, so that the repository is as
// large for those who delete few of them in the time.
func deletes(name string, n, clients int, s sizes) workload {
	repo := tagsRepo(n)
	return workload{
		name: name, unit: "manifests", store: "tags", clients: clients, long: n > tooLong, needs: tags(n), most: s.some, passes: 20,
		again: func(t *target, _ *conn) error {
			had := len(t.doomed)
			if had > 0 && t.doomedIn != repo {
				had = 0
			}
			t.doomed, t.doomedIn = t.doomed[:had], repo
			for range s.some - had {
				t.doomed = append(t.doomed, t.images[0].another(t.unique()))
			}
			fresh := t.doomed[had:]
			return fill(t, len(fresh), func(c *conn, i int) error {
				return fresh[i].put(c, repo, "doomed-"+fresh[i].manifest.digest[7:27])
			})
		},
		do: func(t *target, c *conn, _ int) error {
			img, ok := t.condemn()
			if !ok {
				return errors.New("nothing is left to delete")
			}
			return deleteManifest(c, repo, img)
		},
	}
}

// condemn takes one of those that can be deleted.
func (t *target) condemn() (image, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.doomed) == 0 {
		return image{}, false
	}
	img := t.doomed[len(t.doomed)-1]
	t.doomed = t.doomed[:len(t.doomed)-1]
	return img, true
}

func ofReferrers(n int) []workload {
	at := func(t *target) string { return "/v2/" + referrersRepo(n) + "/referrers/" + t.images[0].manifest.digest }
	list := of(n, "referrers", referrers(n), []workload{
		{name: "referrers", unit: "lists", clients: 16, do: func(t *target, c *conn, i int) error { return getList(at(t), n)(t, c, i) }},
		{name: "page of 100 referrers", unit: "pages", do: func(t *target, c *conn, i int) error {
			return getPage(at(t)+"?n=100", min(n, 100))(t, c, i)
		}},
	})
	for i := range list {
		list[i].lacks = []string{"distribution"} // it knows no referrers
	}
	return list
}

func ofRepos(n int) []workload {
	return of(n, "repositories", repos(n), []workload{
		{name: "first page of the catalog", unit: "pages", do: getPage("/v2/_catalog?n=100", 100)},
		{name: "last page of the catalog", unit: "pages", do: getPage("/v2/_catalog?n=100&last="+strings.ReplaceAll(repoName(max(0, n-101)), "/", "%2F"), min(n-1, 100))},
		{name: "the whole catalog", unit: "lists", do: getList("/v2/_catalog?n=1000", n+1)},
		{name: "manifest GET in repositories", unit: "requests", do: func(t *target, c *conn, i int) error {
			return getManifest(c, "GET", repoName(i*7919%n), "v1", t.images[0])
		}},
	})
}

// getPage asks for a part of a list, which must have so many entries.
func getPage(path string, entries int) func(*target, *conn, int) error {
	return func(_ *target, c *conn, _ int) error {
		got, size, _, err := c.list(path)
		return c.checkList(path, got, entries, size, err)
	}
}

// getList asks for a list, and for further pages of it as long as there are any.
func getList(path string, entries int) func(*target, *conn, int) error {
	return func(_ *target, c *conn, _ int) error {
		var sum int
		var all int64
		for at := path; at != ""; {
			got, size, more, err := c.list(at)
			if err != nil {
				return err
			}
			sum, all, at = sum+got, all+size, more
		}
		return c.checkList(path, sum, entries, all, nil)
	}
}

// list asks for a page. Its entries are only counted if the connection verifies,
// since that takes longer than to ask.
func (c *conn) list(path string) (entries int, size int64, more string, err error) {
	keep := dropBody
	if c.verify {
		keep = keepBody
	}
	a, err := c.want(200, request{method: "GET", path: path, keep: keep})
	if err != nil {
		return 0, 0, "", err
	}
	if link := string(a.header[hLink]); link != "" {
		from, to := strings.IndexByte(link, '<'), strings.IndexByte(link, '>')
		if from < 0 || to < from {
			return 0, 0, "", fmt.Errorf("%s: a Link that is none: %s", path, link)
		}
		if more, err = destination([]byte(link[from+1 : to])); err != nil {
			return 0, 0, "", err
		}
	}
	if c.verify {
		var list struct {
			Repositories, Tags []string
			Manifests          []json.RawMessage
		}
		if err := json.Unmarshal(a.body, &list); err != nil {
			return 0, 0, "", err
		}
		entries = len(list.Repositories) + len(list.Tags) + len(list.Manifests)
	}
	return entries, a.size, more, nil
}

// checkList compares a list with what it must be: the first by its entries, the
// others by the size of the first.
func (c *conn) checkList(path string, got, want int, size int64, err error) error {
	if err != nil {
		return err
	}
	if c.verify {
		c.usual = size
		if got != want {
			return fmt.Errorf("%s: got %d entries, want %d", path, got, want)
		}
	}
	if size != c.usual {
		return fmt.Errorf("%s: got %d bytes, and %d before", path, size, c.usual)
	}
	return nil
}
