// Command etcd is the stock etcd server, built here because the module's own
// command is not importable as a tool of a module of another name.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
