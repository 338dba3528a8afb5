// Package proxies runs the recipes of deploy/ with the real proxies, real
// clients in front of them and a real Berth behind, and holds that `berth
// doctor` finds what is wrong with those that are configured wrongly. All of it
// is in its tests.
package proxies
