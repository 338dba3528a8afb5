package config

import (
	"slices"
	"strings"
)

// keys returns the paths of all keys.
func keys() []string {
	var all []string
	for _, f := range fields() {
		all = append(all, f.path)
	}
	return all
}

// keysAndSections returns the paths of all keys, each after those of the
// sections it is in.
func keysAndSections() []string {
	var all []string
	for _, key := range keys() {
		for i := range key {
			if key[i] == '.' && !slices.Contains(all, key[:i]) {
				all = append(all, key[:i])
			}
		}
		all = append(all, key)
	}
	return all
}

// didYouMean returns the end of a message about an unknown name: a question
// with the known name that resembles it most, or whose last word does; nothing
// if there is none.
func didYouMean(name string, known []string) string {
	best := nearest(name, known, func(s string) string { return strings.TrimPrefix(s, envPrefix) })
	if best == "" {
		best = nearest(name, known, lastWord)
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

// lastWord returns listen for http.listen and for BERTH_HTTP_LISTEN.
func lastWord(s string) string { return s[strings.LastIndexAny(s, "._")+1:] }

// nearest returns the first of the known names whose part is nearest to that of
// name, and not so far that it is another word.
func nearest(name string, known []string, part func(string) string) string {
	name = strings.ToLower(part(name))
	best, least := "", min(len(name)/4, 3)+1
	for _, k := range known {
		if d := distance(name, strings.ToLower(part(k))); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance returns the number of bytes to insert, remove or replace to make b
// of a (Levenshtein), a swap of neighbours counting as two. Long names are far
// from everything, so that a hostile one costs nothing.
func distance(a, b string) int {
	const longest = 100
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
