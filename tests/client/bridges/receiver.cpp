// A receiver made with the OpenIGTLink library, to check the bridge with somebody else's code.
//
//     receiver HOST PORT DEPTH_MM
//
// Prints the first IMAGE, asks for another depth with a PLUS command, and prints the first IMAGE of another depth: lines
// "image COLUMNS ROWS SPACING_X SPACING_Y CENTRE_X CENTRE_Y CENTRE_Z ROWS_RUN_ALONG_Z SECONDS". Also the first STATUS as
// "status CODE NAME", the answer as "answer TEXT", and the capabilities as "capability COUNT". Exit code 0 when all have come.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "igtlCapabilityMessage.h"
#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlMessageHeader.h"
#include "igtlStatusMessage.h"
#include "igtlStringMessage.h"
#include "igtlTimeStamp.h"

static bool receive(igtl::ClientSocket* socket, igtl::MessageBase* message) {
  message->AllocatePack();
  const int size = message->GetPackBodySize();
  if (size > 0 && socket->Receive(message->GetPackBodyPointer(), size) != size) return false;
  return (message->Unpack(1) & igtl::MessageHeader::UNPACK_BODY) != 0;
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer(arguments[1], std::atoi(arguments[2])) != 0) return 3;
  socket->SetReceiveTimeout(30000);

  igtl::GetCapabilityMessage::Pointer question = igtl::GetCapabilityMessage::New();
  question->SetDeviceName("Receiver");
  question->Pack();
  socket->Send(question->GetPackPointer(), question->GetPackSize());

  bool asked = false, answered = false, told = false, capable = false, changed = false;
  int first_rows = 0;
  float first_extent = 0;
  for (int messages = 0; messages < 2000 && !(answered && told && capable && changed); ++messages) {
    igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize()) return 4;
    header->Unpack();
    const char* type = header->GetDeviceType();
    if (std::strcmp(type, "IMAGE") == 0) {
      igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
      image->SetMessageHeader(header);
      if (!receive(socket, image)) return 5;
      int columns, rows, slices;
      float sx, sy, sz, x, y, z;
      igtl::Matrix4x4 matrix;
      image->GetDimensions(columns, rows, slices);
      image->GetSpacing(sx, sy, sz);
      image->GetOrigin(x, y, z);
      image->GetMatrix(matrix);
      igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
      image->GetTimeStamp(stamp);
      const float extent = rows * sy;
      const bool other = asked && !changed && std::fabs(extent - first_extent) > 1;
      if (!asked || other)
        std::printf("image %d %d %.7g %.7g %.7g %.7g %.7g %.7g %.3f\n", columns, rows, sx, sy, x, y, z, matrix[2][1],
                    stamp->GetTimeStamp());
      changed = changed || other;
      if (!asked) {
        first_rows = rows;
        first_extent = extent;
        char text[200];
        std::snprintf(text, sizeof text,
                      "<Command Name=\"SetUsParameter\"><Parameter Name=\"DepthMm\" Value=\"%s\"/></Command>", arguments[3]);
        igtl::StringMessage::Pointer command = igtl::StringMessage::New();
        command->SetDeviceName("CMD_7");
        command->SetString(text);
        command->Pack();
        socket->Send(command->GetPackPointer(), command->GetPackSize());
        asked = true;
      }
    } else if (std::strcmp(type, "STATUS") == 0) {
      igtl::StatusMessage::Pointer status = igtl::StatusMessage::New();
      status->SetMessageHeader(header);
      if (!receive(socket, status)) return 6;
      if (!told) std::printf("status %d %s\n", status->GetCode(), status->GetErrorName());
      told = true;
    } else if (std::strcmp(type, "STRING") == 0) {
      igtl::StringMessage::Pointer text = igtl::StringMessage::New();
      text->SetMessageHeader(header);
      if (!receive(socket, text)) return 7;
      if (std::strcmp(header->GetDeviceName(), "ACK_7") == 0) {
        std::printf("answer %s\n", text->GetString());
        answered = true;
      }
    } else if (std::strcmp(type, "CAPABILITY") == 0) {
      igtl::CapabilityMessage::Pointer list = igtl::CapabilityMessage::New();
      list->SetMessageHeader(header);
      if (!receive(socket, list)) return 8;
      std::printf("capability %d\n", list->GetNumberOfTypes());
      capable = true;
    } else {
      socket->Skip(header->GetBodySizeToRead(), 0);
    }
  }
  socket->CloseSocket();
  return answered && told && capable && changed && first_rows > 0 ? 0 : 9;
}
