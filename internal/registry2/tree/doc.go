// Package tree lives together with the links that registry:2 keeps in its data
// directory: it takes over what they say, keeps them in step with what happens
// afterwards, so that registry:2 can be started again at any time, takes in what
// registry:2 has written when Berth is started after that, and ends all this when
// it is told to.
//
// A link is a small file that holds a digest:
//
//	repositories/<name>/_layers/<alg>/<hex>/link                    the repository has a blob
//	repositories/<name>/_manifests/revisions/<alg>/<hex>/link       the repository has a manifest
//	repositories/<name>/_manifests/tags/<tag>/current/link          what a tag points to
//	repositories/<name>/_manifests/tags/<tag>/index/<alg>/<hex>/link  what it has ever pointed to
//
// Whose word counts is decided link by link. What a link held when it was last
// read or written is remembered in the database, and so is what is about to be
// written. A link that holds anything else was written by registry:2, and a
// remembered one that is gone was taken away by it: the tree is right. In all
// other cases the database is.
//
// No symbolic link is followed, nothing that cannot be read stops the rest, and
// what is not understood is left as it is.
package tree
