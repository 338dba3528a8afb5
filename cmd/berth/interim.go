package main

import (
	"io"

	"github.com/spf13/cobra"
)

func newHtpasswdCommand() *cobra.Command { return &cobra.Command{Use: "htpasswd"} }
func newTLSCommand() *cobra.Command      { return &cobra.Command{Use: "tls"} }
func newHealthCommand() *cobra.Command   { return &cobra.Command{Use: "health"} }
func runApacheHtpasswd([]string, io.Reader, io.Writer, io.Writer) int { return 1 }
