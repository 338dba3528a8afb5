//go:build race

package linelog

const raced = true
