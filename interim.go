package berth

import "net/http"

type readiness struct{}

func (readiness) SetReady()        {}
func (readiness) SetShuttingDown() {}

func (s *Server) Ops() http.Handler { return http.NotFoundHandler() }

func (s *Server) openOps() {}
