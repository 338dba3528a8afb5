package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// next makes new numbers for what is pushed.
func next(t *target, _ *conn) error {
	t.reserve()
	return nil
}

// seed is that of the n-th operation of a pass.
func (t *target) seedOf(n int) uint64 { return t.first + uint64(n) }

func largePushes(s sizes) []workload {
	// The disk has an end, so each has a store of its own, and pushes so many at most
	// in one measurement.
	const passes, largest = 3, 2
	var list []workload
	push := func(m mode, kind string, w way) {
		list = append(list, workload{
			name: in(m, fmt.Sprintf("large push, %s c1", kind)), store: "large push, " + in(m, kind), unit: "MiB", weight: int64(s.large >> 20), clients: 1, mode: m,
			longer: 3, most: largest, passes: passes, large: true, again: next,
			do: func(t *target, c *conn, n int) error {
				return c.pushBlob("bench/large", t.stock.blob(s.large, t.seedOf(n)), w)
			},
		})
	}
	push(plain, "monolithic", monolithic)
	push(plain, "chunked", patched)
	push(passwords, "monolithic", monolithic)
	push(secured, "monolithic", monolithic)
	return list
}

// imagePushes are pushes of many new images.
func imagePushes(s sizes) []workload {
	var list []workload
	push := func(name, repo string, layers, size int) {
		for _, clients := range []int{1, 8, 32} {
			list = append(list, workload{
				name: fmt.Sprintf("push of %s c%d", name, clients), store: "image pushes", unit: "images", clients: clients, longer: 2, again: next,
				do: func(t *target, c *conn, n int) error {
					seed := t.seedOf(n)
					return t.stock.image(layers, size, seed).push(c, repo, fmt.Sprint(seed))
				},
			})
		}
	}
	push("10-layer images", "bench/images", 10, s.layer)
	push("small images", "bench/smalls", 5, 4<<10)
	return list
}

const taggingRepo = "bench/tagging"

func tagging(s sizes, m mode) []workload {
	one := pushed("tagged", taggingRepo, "v1", 5, 4<<10)
	var list []workload
	add := func(name, unit string, w workload, clients ...int) {
		for _, n := range clients {
			w.name, w.unit, w.clients, w.needs = fmt.Sprintf("%s c%d", name, n), unit, n, one
			list = append(list, w)
		}
	}
	add("tags only", "tags", workload{again: next, do: func(t *target, c *conn, n int) error {
		return t.images[0].put(c, taggingRepo, fmt.Sprintf("n%d", t.seedOf(n)))
	}}, 1, 16)
	add("re-push of what exists", "images", workload{do: func(t *target, c *conn, _ int) error {
		return t.images[0].push(c, taggingRepo, "v1")
	}}, 1, 8)
	add("push of a referrer", "referrers", workload{again: next, do: func(t *target, c *conn, n int) error {
		r := t.images[0].referrer(t.seedOf(n))
		return r.put(c, taggingRepo, r.manifest.digest)
	}}, 1, 8)
	// Five parts each are mounted into as many new repositories.
	add("mount", "mounts", workload{again: next, most: 5 * s.some, passes: 20, do: func(t *target, c *conn, n int) error {
		part := t.images[0].parts[1+n/s.some]
		_, err := c.want(201, request{method: "POST", path: fmt.Sprintf("/v2/bench/mount%d/blobs/uploads/?mount=%s&from=%s", t.seedOf(n%s.some), part.digest, taggingRepo)})
		return err
	}}, 1, 8)
	return kept(m, list, "tags only c16", "re-push of what exists c8")
}

// mixes are what a registry of a CI system does: of ten clients seven pull, two
// only tag and one pushes a new image of three layers. In the second of them
// images are deleted, too, one for three that are pushed and three for ten tags,
// and what nothing refers to any more is collected meanwhile by who can.
func mixes(s sizes) []workload {
	const repo = "bench/ci"
	needs := supply{name: "ci", make: func(t *target, c *conn) (made supplied, err error) {
		for i := range s.few {
			img := t.stock.image(3, 64<<10, t.unique())
			if err := img.push(c, repo, fmt.Sprint(i)); err != nil {
				return made, err
			}
			made.images = append(made.images, img)
		}
		return made, nil
	}}
	push := func(t *target, c *conn, n int) (image, error) {
		img := t.stock.image(3, 64<<10, t.seedOf(n))
		return img, img.push(c, repo, fmt.Sprint("new-", t.seedOf(n)))
	}
	op := func(t *target, c *conn, n int) error {
		at := n % len(t.images)
		switch n % 10 {
		case 3, 7: // one of the tags
			return t.images[at].put(c, repo, fmt.Sprintf("build-%d", t.seedOf(n)))
		case 5:
			img, err := push(t, c, n)
			if err == nil && t.fresh != nil {
				select {
				case t.fresh <- img:
				default: // enough can be deleted
				}
			}
			return err
		}
		return t.images[at].pull(c, repo, fmt.Sprint(at))
	}
	isPull := func(n int) bool { return n%10 != 3 && n%10 != 5 && n%10 != 7 }
	return []workload{
		{name: "CI-like mix c32", store: "ci", unit: "images", clients: 32, longer: 4, needs: needs, again: next, do: op, timed: isPull},
		{name: "CI-like mix with deletes and collections c32", store: "ci with deletes", unit: "images", clients: 32, mode: collecting, longer: 5, needs: needs,
			again: func(t *target, c *conn) error { t.fresh = make(chan image, 1000); return next(t, c) },
			do: func(t *target, c *conn, n int) error {
				if n%30 != 17 {
					return op(t, c, n)
				}
				select {
				case img := <-t.fresh:
					return deleteManifest(c, repo, img)
				default:
					return op(t, c, n)
				}
			}, timed: isPull, after: collected(repo, push)},
	}
}

// collected checks that Berth did collect: the layer of a deleted image goes.
// To ask for a blob is to use it, which keeps it, so it is not asked for often.
func collected(repo string, push func(t *target, c *conn, n int) (image, error)) func(context.Context, *target, *conn) error {
	return func(ctx context.Context, t *target, c *conn) error {
		if t.contestant.name != "berth" {
			return nil
		}
		t.reserve()
		img, err := push(t, c, 0)
		if err == nil {
			err = deleteManifest(c, repo, img)
		}
		for range 5 {
			if err == nil {
				err = pause(ctx, 2*grace)
			}
			if err != nil {
				return err
			}
			if has, err := c.hasBlob(repo, img.parts[1].digest); !has {
				return err
			}
		}
		return errors.New("nothing was collected meanwhile")
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func deleteManifest(c *conn, repo string, img image) error {
	_, err := c.want(202, request{method: "DELETE", path: "/v2/" + repo + "/manifests/" + img.manifest.digest})
	return err
}
