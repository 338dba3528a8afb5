//go:build !race

package berth_test

const raced = false
