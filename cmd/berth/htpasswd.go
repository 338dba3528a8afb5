package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"berth/internal/auth/htpasswd"
)

// Exit codes of `berth htpasswd verify`, beside those of every command.
const exitNotVerified = 3

// newHtpasswdCommand returns `berth htpasswd`, which is two commands: one with
// subcommands, and Apache's with Apache's flags. The first argument decides,
// before cobra sees the others: a user of Apache's may be called "add".
func newHtpasswdCommand() *cobra.Command {
	subcommands := []string{"add", "remove", "verify", "list"}
	cmd := &cobra.Command{
		Use:                "htpasswd add|remove|verify|list FILE [USER…]",
		Short:              "Edit the password file with which users log in",
		Long:               htpasswdLong,
		Example:            htpasswdExample,
		ValidArgs:          subcommands,
		DisableFlagParsing: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && !slices.Contains(append(subcommands, "help", "-h", "--help"), args[0]) {
			if code := runApacheHtpasswd(args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); code != 0 {
				return exitError(code)
			}
			return nil
		}
		tree := newHtpasswdTree()
		tree.SetArgs(args)
		tree.SetIn(cmd.InOrStdin())
		tree.SetOut(cmd.OutOrStdout())
		tree.SetErr(cmd.ErrOrStderr())
		return tree.ExecuteContext(cmd.Context())
	}
	return cmd
}

const htpasswdLong = `htpasswd edits the password file that auth.htpasswd.path names. A running server
sees every change within a second.

New passwords are hashed with bcrypt. They are asked for, or read from standard
input with --stdin, one line per user; they may have 72 bytes. The file keeps its
comments, its mode and its other lines, whatever made them, and is never half
written. A file in UTF-16, as PowerShell writes it, becomes UTF-8.

With Apache's flags it is Apache's htpasswd, and also when the program is called
by the name htpasswd: see ` + "`berth htpasswd -nb`" + ` for the list. -d (DES crypt) and -p
(clear text) are refused, because Berth never accepts them.

Exit codes: 0 done; 1 the file could not be read or written, or has no such
user; 2 called wrongly; 3 verify: the password is wrong, or nobody can log in as
that user. With Apache's flags the codes are Apache's: 1 file, 2 usage, 3 wrong
password, 5 too long, 6 user name, 7 not a password file, 9 a hash that cannot be
checked, 10 a kind of hash that is not made.`

const htpasswdExample = `  berth htpasswd add users alice
  echo "$PASSWORD" | berth htpasswd add --stdin users bob
  berth htpasswd verify users alice
  berth htpasswd list users
  berth htpasswd -Bbn carol "$PASSWORD" >> users`

// newHtpasswdTree returns the command with subcommands.
func newHtpasswdTree() *cobra.Command {
	tree := &cobra.Command{
		Use:           "htpasswd",
		Long:          htpasswdLong,
		Example:       htpasswdExample,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "berth htpasswd"},
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	tree.CompletionOptions.DisableDefaultCmd = true
	tree.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee `%s --help`", err, cmd.CommandPath())}
	})
	tree.AddCommand(newHtpasswdAdd(), newHtpasswdRemove(), newHtpasswdVerify(), newHtpasswdList())
	return tree
}

// fileAndUsers wants a file and at least one user name.
func fileAndUsers(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return usageError{fmt.Errorf("a file and at least one user are needed: `%s FILE USER…`", cmd.CommandPath())}
	}
	return nil
}

func newHtpasswdAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add FILE USER…",
		Short: "Add users, or give them a new password",
		Args:  fileAndUsers,
	}
	stdin := cmd.Flags().Bool("stdin", false, "read the passwords from standard input, one line per user")
	cost := cmd.Flags().Int("cost", htpasswd.DefaultBcryptCost, "bcrypt `cost`, from 4 to 14; each step doubles the time of a log-in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, users := args[0], args[1:]
		if *cost < 4 || *cost > htpasswd.MaxBcryptCost {
			return usageError{fmt.Errorf("--cost is %d, but must be between 4 and %d", *cost, htpasswd.MaxBcryptCost)}
		}
		for _, user := range users {
			if err := htpasswd.CheckUser(user); err != nil {
				return usageError{fmt.Errorf("user %q: %w", user, err)}
			}
		}
		if _, err := readOrNew(path); err != nil { // before anybody types a password
			return err
		}
		ask := newAsker(cmd, *stdin)
		hashes := make([]string, len(users))
		for i, user := range users {
			password, err := ask.newPassword(user)
			if err != nil {
				return err
			}
			if hashes[i], err = htpasswd.Make(htpasswd.Bcrypt, password, *cost); err != nil {
				return fmt.Errorf("user %q: %w", user, err)
			}
		}
		return addUsers(path, users, hashes, cmd.OutOrStdout())
	}
	return cmd
}

func addUsers(path string, users, hashes []string, out io.Writer) error {
	doc, err := readOrNew(path)
	if err != nil {
		return err
	}
	said := make([]string, len(users))
	for i, user := range users {
		said[i] = fmt.Sprintf("added %s", user)
		if doc.Set(user, hashes[i]) > 0 {
			said[i] = fmt.Sprintf("changed the password of %s", user)
		}
	}
	if err := doc.Save(path, 0o600); err != nil {
		return err
	}
	for _, s := range said {
		fmt.Fprintln(out, s)
	}
	sayConverted(out, path, doc)
	return nil
}

// readOrNew reads the file, or begins one if there is none.
func readOrNew(path string) (*htpasswd.Document, error) {
	doc, err := htpasswd.ReadDocument(path)
	if errors.Is(err, fs.ErrNotExist) {
		return htpasswd.NewDocument(), nil
	}
	return doc, err
}

// sayConverted tells that the file has another encoding than before.
func sayConverted(out io.Writer, path string, doc *htpasswd.Document) {
	if doc.Encoding != htpasswd.UTF8 {
		fmt.Fprintf(out, "%s was %s and is UTF-8 now\n", path, doc.Encoding)
	}
}

func newHtpasswdRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove FILE USER…",
		Short: "Remove users",
		Args:  fileAndUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, users := args[0], args[1:]
			doc, err := htpasswd.ReadDocument(path)
			if err != nil {
				return err
			}
			for _, user := range users {
				if doc.Remove(user) == 0 {
					return fmt.Errorf("password file %s has no user %q: nothing was changed", path, user)
				}
			}
			if err := doc.Save(path, 0o600); err != nil {
				return err
			}
			for _, user := range users {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", user)
			}
			sayConverted(cmd.OutOrStdout(), path, doc)
			if !anybody(doc) {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s has no user left. A running server takes that for a damaged file and keeps "+
					"the users it had, until there is a user again or it is stopped\n", path)
			}
			return nil
		},
	}
}

// anybody reports whether doc has a line that can log somebody in.
func anybody(doc *htpasswd.Document) bool {
	return slices.ContainsFunc(doc.Entries(), func(e htpasswd.Entry) bool {
		_, err := e.Hash()
		return err == nil
	})
}

func newHtpasswdVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE USER…",
		Short: "Check passwords",
		Args:  fileAndUsers,
	}
	stdin := cmd.Flags().Bool("stdin", false, "read the passwords from standard input, one line per user")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := htpasswd.ReadDocument(args[0])
		if err != nil {
			return err
		}
		ask := newAsker(cmd, *stdin)
		code := exitError(0)
		for _, user := range args[1:] {
			password, err := ask.password(user)
			if err != nil {
				return err
			}
			if err := verifyUser(doc, user, password); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", user, err)
				code = exitNotVerified
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: the password is right\n", user)
		}
		if code != 0 {
			return code
		}
		return nil
	}
	return cmd
}

// verifyUser says why that user and password cannot log in.
func verifyUser(doc *htpasswd.Document, user, password string) error {
	for _, e := range doc.Entries() {
		if e.Bad || e.User != user {
			continue
		}
		h, err := e.Hash()
		switch {
		case err != nil:
			return fmt.Errorf("line %d: %w", e.Line, err)
		case !h.Matches(password):
			return errors.New("the password is wrong")
		}
		return nil
	}
	return errors.New("there is no such user")
}

func newHtpasswdList() *cobra.Command {
	return &cobra.Command{
		Use:   "list FILE",
		Short: "List the users and how their passwords are hashed",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("one file is needed: `%s FILE`", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := htpasswd.ReadDocument(args[0])
			if err != nil {
				return err
			}
			return listUsers(doc, cmd.OutOrStdout())
		},
	}
}

// listUsers writes one line per line of the file that is about a user, and
// nothing of any hash.
func listUsers(doc *htpasswd.Document, out io.Writer) error {
	w := newTable(out)
	fmt.Fprintln(w, "USER\tLINE\tHASH")
	seen := make(map[string]bool)
	for _, e := range doc.Entries() {
		h, err := e.Hash()
		kind := h.String()
		switch {
		case e.Bad:
			kind = "cannot log in: " + err.Error()
		case seen[e.User]:
			kind = "ignored: the user has an earlier line"
		case err != nil:
			kind = "cannot log in: " + err.Error()
		}
		seen[e.User] = true
		fmt.Fprintf(w, "%s\t%d\t%s\n", printable(e.User), e.Line, kind)
	}
	return w.Flush()
}

// printable quotes a name that is empty or would do something to the terminal.
func printable(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
