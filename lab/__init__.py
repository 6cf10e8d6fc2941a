"""The lab: a local EC2 whose instances are real Linux hosts.

An EC2 API on loopback (moto) starts, stops and ends containers that run systemd, sshd and a Docker
engine of their own, under the memory and CPU limits of their instance type.
"""
