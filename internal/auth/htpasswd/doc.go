// Package htpasswd logs users in by a password file as Apache's htpasswd
// writes it and nginx reads it.
//
// It holds the hashes (Hash, Make), the text of the file in whatever encoding
// it was saved (Document), and the Authenticator over it (File), which reads
// the file again when it changed, remembers verified credentials, hashes in a
// bounded pool and slows down guessers. It must know neither HTTP nor what a
// user may do once logged in, and it never puts a password or a hash into a
// log or an error.
package htpasswd
