// Package horror holds what has happened to the people who ran other registries,
// as tests: images that a collection had destroyed, deletes that took others
// along, disks that filled up. Each test has the name of the story and links it.
//
// A story that is only an absence (nothing is lost, nothing stays) would pass with
// a collector that is asleep. So each test also sees the collector work: see
// (*registry).rest.
//
// Collections that took days, since they looked at everything for a little
// garbage (https://github.com/goharbor/harbor/issues/22739,
// https://github.com/goharbor/harbor/issues/19991), are no story here, because a
// client can't count what is looked at: TestCost of berth/internal/gc does.
package horror
