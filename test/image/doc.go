// Package image tests what a release gives people: the image, with a real docker
// engine, and the recipes that run it. It holds only tests.
package image
