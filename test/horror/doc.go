// Package horror holds what has happened to the people who ran other registries,
// as tests: images that a collection had destroyed, deletes that took others
// along, disks that filled up. Each test has the name of the story and links it.
//
// A story that is only an absence (nothing is lost, nothing stays) would pass with
// a collector that is asleep. So each test also sees the collector work: see
// (*registry).rest.
package horror
