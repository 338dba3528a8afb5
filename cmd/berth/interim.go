package main

import (
	"github.com/spf13/cobra"
)

func newTLSCommand() *cobra.Command    { return &cobra.Command{Use: "tls"} }
func newHealthCommand() *cobra.Command { return &cobra.Command{Use: "health"} }
