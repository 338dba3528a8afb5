// Package hostile holds the tests of what no honest client sends: hundreds of
// requests that are each refused with a clear 4xx, none of which hangs the
// server, makes it fail, or changes what it holds.
package hostile
