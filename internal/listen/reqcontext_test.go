package listen

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestRequestContext compares a requestContext with what context.WithCancel makes,
// however it is used before it ends and after.
func TestRequestContext(t *testing.T) {
	type key struct{}
	type use struct {
		name string
		do   func(ctx context.Context) any
	}
	uses := []use{
		{"nothing", func(context.Context) any { return nil }},
		{"Err", func(ctx context.Context) any { return ctx.Err() }},
		{"Cause", func(ctx context.Context) any { return context.Cause(ctx) }},
		{"Value", func(ctx context.Context) any { return ctx.Value(key{}) }},
		{"Deadline", func(ctx context.Context) any { _, ok := ctx.Deadline(); return ok }},
		{"Done", func(ctx context.Context) any {
			select {
			case <-ctx.Done():
				return true
			default:
				return false
			}
		}},
		{"WithCancel", func(ctx context.Context) any {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			return derived.Err()
		}},
		{"WithTimeout", func(ctx context.Context) any {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return context.Cause(derived)
		}},
		{"AfterFunc", func(ctx context.Context) any { return context.AfterFunc(ctx, func() {})() == (ctx.Err() == nil) }},
		{"WithoutCancel", func(ctx context.Context) any { return context.WithoutCancel(ctx).Err() }},
	}
	errCut := errors.New("cut")
	ends := map[string]func(cut context.CancelCauseFunc, end func()){
		"request":              func(_ context.CancelCauseFunc, end func()) { end() },
		"connection":           func(cut context.CancelCauseFunc, _ func()) { cut(errCut) },
		"connection, request":  func(cut context.CancelCauseFunc, end func()) { cut(errCut); end() },
		"request, connection":  func(cut context.CancelCauseFunc, end func()) { end(); cut(errCut) },
		"request twice":        func(_ context.CancelCauseFunc, end func()) { end(); end() },
		"neither":              func(context.CancelCauseFunc, func()) {},
		"only when looked for": func(cut context.CancelCauseFunc, _ func()) { cut(nil) },
	}
	run := func(lazy bool, before, after use, end func(context.CancelCauseFunc, func())) []any {
		outer, cut := context.WithCancelCause(context.WithValue(t.Context(), key{}, 1))
		defer cut(nil)
		var ctx context.Context
		var over func()
		if lazy {
			c := &requestContext{Context: outer}
			ctx, over = c, c.end
		} else {
			ctx, over = context.WithCancel(outer)
		}
		defer over()
		first := before.do(ctx)
		end(cut, over)
		return []any{first, after.do(ctx), ctx.Err(), context.Cause(ctx)}
	}
	for name, end := range ends {
		for _, before := range uses {
			for _, after := range uses {
				got, want := run(true, before, after, end), run(false, before, after, end)
				if !slices.Equal(got, want) {
					t.Errorf("%s, then the end of the %s, then %s: got %v, want %v", before.name, name, after.name, got, want)
				}
			}
		}
	}
}

// TestRequestContextWakes holds that whoever waits is woken, by either end, also through
// a context that was derived.
func TestRequestContextWakes(t *testing.T) {
	outer, cut := context.WithCancel(t.Context())
	defer cut()
	for _, end := range []func(*requestContext){(*requestContext).end, func(*requestContext) { cut() }} {
		c := &requestContext{Context: outer}
		derived, cancel := context.WithCancel(c)
		defer cancel()
		var group sync.WaitGroup
		called := make(chan struct{})
		context.AfterFunc(c, func() { close(called) })
		for _, ctx := range []context.Context{c, derived, c} {
			group.Go(func() { <-ctx.Done() })
		}
		end(c)
		group.Wait()
		<-called
		if derived.Err() == nil || c.Err() == nil {
			t.Errorf("got %v and %v", derived.Err(), c.Err())
		}
	}
}
