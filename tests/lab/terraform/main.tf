# One instance with its key pair and security group: what test_terraform.py applies, changes and destroys.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "endpoint" { type = string }
variable "region" { type = string }
variable "access_key" { type = string }
variable "secret_key" { type = string }
variable "public_key" { type = string }
variable "instance_type" { type = string }

provider "aws" {
  region                      = var.region
  access_key                  = var.access_key
  secret_key                  = var.secret_key
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {
    ec2 = var.endpoint
  }
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = ["123456789012"]
  filter {
    name   = "name"
    values = ["slipway-lab/images/hvm-ssd-gp3/debian-12-amd64-server-*"]
  }
}

resource "aws_key_pair" "stranger" {
  key_name   = "terraform"
  public_key = var.public_key
}

resource "aws_security_group" "stranger" {
  name        = "terraform"
  description = "tests"
  ingress {
    protocol    = "tcp"
    from_port   = 22
    to_port     = 22
    cidr_blocks = ["198.18.0.0/15"]
  }
  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "stranger" {
  ami                    = data.aws_ami.debian.id
  instance_type          = var.instance_type
  key_name               = aws_key_pair.stranger.key_name
  vpc_security_group_ids = [aws_security_group.stranger.id]
  tags                   = { Name = "terraform" }
}

output "id" { value = aws_instance.stranger.id }
output "group" { value = aws_security_group.stranger.id }
output "private_ip" { value = aws_instance.stranger.private_ip }
