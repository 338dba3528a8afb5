package main

import (
	"errors"
	"fmt"
	"sync"
)

// fill does n things, with many connections at once.
func fill(t *target, n int, put func(c *conn, i int) error) error {
	const clients = 16
	var group sync.WaitGroup
	errs := make([]error, clients)
	for k := range clients {
		group.Go(func() {
			c, err := dial(t)
			if err != nil {
				errs[k] = err
				return
			}
			defer c.close()
			for i := k; i < n && errs[k] == nil; i += clients {
				if errs[k] = put(c, i); errs[k] == nil && i/clients%1000 == 0 {
					errs[k] = c.extend()
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// A name is what an image is called.
type name struct{ repo, tag string }

// names gives img, which lies in the repository from, n names more. Their
// repositories get its parts by mounts, if they are others.
func names(t *target, from string, img image, n int, called func(i int) name) error {
	put := func(c *conn, i int) error {
		as := called(i)
		for _, b := range img.parts {
			if as.repo == from {
				break
			}
			if _, err := c.want(201, request{method: "POST", path: "/v2/" + as.repo + "/blobs/uploads/?mount=" + b.digest + "&from=" + from}); err != nil {
				return err
			}
		}
		return img.put(c, as.repo, as.tag)
	}
	if plant := t.contestant.plant; plant != nil {
		put = func(_ *conn, i int) error {
			as := called(i)
			return plant(t.dir, as.repo, as.tag, img)
		}
	}
	if err := fill(t, n, put); err != nil || n == 0 {
		return err
	}
	// They are there, whoever put them.
	return withConn(t, func(c *conn) error {
		for _, i := range []int{0, n / 2, n - 1} {
			as := called(i)
			if err := getManifest(c, "GET", as.repo, as.tag, img); err != nil {
				return fmt.Errorf("%s:%s after filling the store: %w", as.repo, as.tag, err)
			}
		}
		return nil
	})
}

func withConn(t *target, f func(*conn) error) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	defer c.close()
	return f(c)
}

// The names of tags and repositories by their number: they sort as they count.
func tagName(i int) string  { return fmt.Sprintf("t%06d", i) }
func repoName(i int) string { return fmt.Sprintf("bench/r%06d", i) }

func tagsRepo(n int) string      { return fmt.Sprintf("bench/tags-%d", n) }
func referrersRepo(n int) string { return fmt.Sprintf("bench/referrers-%d", n) }

// A small store is enough where only the number of names matters.
func tiny(t *target) image { return t.stock.image(1, 1<<10, t.unique()) }

// tags is a repository with n tags.
func tags(n int) supply {
	repo := tagsRepo(n)
	return supply{name: repo, make: func(t *target, c *conn) (supplied, error) {
		img := tiny(t)
		if err := img.push(c, repo, tagName(0)); err != nil {
			return supplied{}, err
		}
		return supplied{images: []image{img}}, names(t, repo, img, n-1, func(i int) name { return name{repo, tagName(i + 1)} })
	}}
}

const baseRepo = "bench/base" // sorts before the others

// repos is a store that has grown to n repositories, besides the one where their
// image is from.
func repos(n int) supply {
	return supply{name: fmt.Sprintf("%d repositories", n), make: func(t *target, c *conn) (supplied, error) {
		had := t.repos
		if had == 0 {
			img := tiny(t)
			if err := img.push(c, baseRepo, "v1"); err != nil {
				return supplied{}, err
			}
			t.supplies[baseRepo] = supplied{images: []image{img}}
		}
		made := t.supplies[baseRepo]
		t.repos = max(had, n)
		return made, names(t, baseRepo, made.images[0], t.repos-had, func(i int) name { return name{repoName(had + i), "v1"} })
	}}
}

// referrers is an image with n referrers.
func referrers(n int) supply {
	repo := referrersRepo(n)
	return supply{name: repo, make: func(t *target, c *conn) (supplied, error) {
		img := tiny(t)
		if err := img.push(c, repo, "v1"); err != nil {
			return supplied{}, err
		}
		return supplied{images: []image{img}}, fill(t, n, func(c *conn, i int) error {
			r := img.referrer(uint64(i))
			return r.put(c, repo, r.manifest.digest)
		})
	}}
}
