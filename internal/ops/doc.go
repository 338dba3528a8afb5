// Package ops holds what the people and programs that run a server look at:
// health, metrics, profiles and the access log.
//
// It must not know what is served. Who asked, and for what kind of thing, is
// told to it by the handler (SetUser, SetRoute); who the client is, by a
// function it is given. Nothing it writes down holds a secret: of a request's
// query only named keys are logged, and of its header only the user agent.
package ops
